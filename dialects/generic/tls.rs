//! Failures of TLS, as sqlx hands them on.

use std::io;

use rustls::{AlertDescription, Error};

/// Whether a handshake may go well the next time: the other end said something that is no TLS, as a server does that is
/// short of connections or of time and says so in its own words, or broke off. What one of the two does not take of the
/// other (a certificate, a version, a cipher) it will not take then either.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else { return false };
    match error {
        Error::AlertReceived(alert) => {
            matches!(alert, AlertDescription::InternalError | AlertDescription::UserCanceled)
        }
        error => matches!(
            error,
            Error::InvalidMessage(_)
                | Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
                | Error::PeerMisbehaved(_)
                | Error::PeerSentOversizedRecord
                | Error::DecryptError
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CertificateError, InvalidMessage, PeerIncompatible};

    #[test]
    fn what_one_end_does_not_take_stays_so() {
        let passes = |error: Error| is_passing(&io::Error::new(io::ErrorKind::InvalidData, error));
        // "received corrupt message of type InvalidContentType": what a text in between is read as.
        assert!(passes(Error::InvalidMessage(InvalidMessage::InvalidContentType)));
        assert!(passes(Error::AlertReceived(AlertDescription::InternalError)));
        for lasting in [
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig),
            Error::AlertReceived(AlertDescription::UnknownCA),
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            Error::NoCertificatesPresented,
        ] {
            assert!(!passes(lasting.clone()), "{lasting}");
        }
        assert!(!is_passing(&io::Error::new(io::ErrorKind::InvalidData, "no TLS at all")));
    }
}
