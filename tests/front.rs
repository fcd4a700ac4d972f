//! A front before an HTTP server, as a proxy or a cloud service puts one there: it counts what passes, and can answer in
//! the server's place.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A front on a port of its own, for as long as the test runs.
pub(crate) struct Front {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// What it answers itself: status line and body.
    answer: Mutex<Option<(&'static str, &'static str)>>,
    /// Closed connections are of no use to anyone who still has one.
    ended: AtomicBool,
    sent: AtomicU64,
    refused: AtomicU64,
}

impl Front {
    /// Passes everything on to this port.
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if of_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || shared.serve(client, to));
            }
        });
        Self { port, shared }
    }

    /// Answers new connections itself from now on.
    pub(crate) fn answer(&self, status: &'static str, body: &'static str) {
        *self.shared.answer.lock().expect("no panic while held") = Some((status, body));
    }

    /// Passes new connections on from now on.
    pub(crate) fn pass(&self) {
        *self.shared.answer.lock().expect("no panic while held") = None;
    }

    /// Bytes that clients have sent to the server.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Requests that it answered itself.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // It waits for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream, to: u16) {
        let answer = *self.answer.lock().expect("no panic while held");
        if let Some((status, body)) = answer {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let _ = client.set_read_timeout(Some(Duration::from_millis(100)));
            let mut request = [0; 65_536];
            // What was sent has to be read, or the answer is lost in a reset.
            while client.read(&mut request).is_ok_and(|count| count > 0) {}
            let length = body.len();
            let _ = write!(client, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { return };
        let (Ok(to_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { return };
        std::thread::scope(|scope| {
            scope.spawn(|| copy(&from_server, &to_client, &AtomicU64::new(0)));
            copy(&client, &server, &self.sent);
        });
    }
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, count: &AtomicU64) {
    let mut bytes = [0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
    let _ = to.shutdown(Shutdown::Write);
}
