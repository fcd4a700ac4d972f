//! A front before a server, as a proxy or a cloud service puts one there: it counts what passes, can answer HTTP in the
//! server's place, and can treat connections as bad networks do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// After so long servers give up a connection that nothing comes through, where keep-alive is asked for.
const KEPT_ALIVE: Duration = Duration::from_secs(60);

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
    /// Both sides of each connection there was since they were cut last.
    connections: Mutex<Vec<[TcpStream; 2]>>,
    /// Connections before this one are open, and nothing comes through.
    mute_before: AtomicU64,
    made: AtomicU64,
    is_slow: AtomicBool,
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

    /// Closes all connections, whatever is on its way in them.
    pub(crate) fn cut(&self) {
        for side in self.shared.connections.lock().expect("no panic while held").drain(..).flatten() {
            let _ = side.shutdown(Shutdown::Both);
        }
    }

    /// From now on nothing comes through the connections that there are; neither side is told. New ones are as ever.
    pub(crate) fn mute(&self) {
        self.shared.mute_before.store(self.shared.made.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether what passes takes its time.
    pub(crate) fn slow(&self, is_slow: bool) {
        self.shared.is_slow.store(is_slow, Ordering::Relaxed);
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
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        if let (Ok(one), Ok(other)) = (client.try_clone(), server.try_clone()) {
            self.connections.lock().expect("no panic while held").push([one, other]);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| self.copy(number, &from_server, &to_client, false));
            self.copy(number, &client, &server, true);
        });
    }

    /// What connection `number` says in one direction.
    fn copy(&self, number: u64, mut from: &TcpStream, mut to: &TcpStream, is_to_server: bool) {
        let mut bytes = [0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            let began = Instant::now();
            while number < self.mute_before.load(Ordering::Relaxed) {
                if self.ended.load(Ordering::Relaxed) {
                    return;
                }
                if is_to_server && began.elapsed() > KEPT_ALIVE {
                    let _ = to.shutdown(Shutdown::Both);
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            if self.is_slow.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if to.write_all(&bytes[..length]).is_err() {
                break;
            }
            if is_to_server {
                self.sent.fetch_add(length as u64, Ordering::Relaxed);
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
