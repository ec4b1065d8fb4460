//! A look into a running proxy from outside: `GET /api/status`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Fetches the proxy's status from its admin address.
pub fn fetch(admin: SocketAddr) -> std::io::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&admin, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = format!("GET /api/status HTTP/1.0\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    if head.split_whitespace().nth(1) != Some("200") {
        return Err(std::io::Error::other(format!(
            "{admin} answered {}",
            head.lines().next().unwrap_or_default()
        )));
    }
    serde_json::from_str(body).map_err(std::io::Error::other)
}

/// One number of a status, such as `cache.hits`; 0 when it isn't there.
pub fn number(status: &Value, path: &str) -> f64 {
    let found = path
        .split('.')
        .try_fold(status, |value, key| value.get(key));
    found.and_then(Value::as_f64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_fetched_and_its_numbers_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for head in ["200 OK", "503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0u8; 1024];
                assert!(stream.read(&mut request).unwrap() > 0);
                write!(
                    stream,
                    "HTTP/1.0 {head}\r\n\r\n{{\"cache\":{{\"hits\":7}}}}"
                )
                .unwrap();
            }
        });
        let status = fetch(address).unwrap();
        assert_eq!(number(&status, "cache.hits"), 7.0);
        assert_eq!(number(&status, "cache.misses"), 0.0);
        assert!(fetch(address).unwrap_err().to_string().contains("503"));
        server.join().unwrap();
    }
}
