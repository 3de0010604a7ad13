//! Answers Prometheus: HTTP/1.1, one request for each connection, `GET /metrics` and nothing else.
//!
//! What a stranger can take is bounded: connections, bytes of a request, time. Source: RFC 9112.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Duration, sleep, timeout};

use super::Metrics;

/// Connections that are answered side by side; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 8;

/// The longest request line with its headers.
const HEAD_BYTES_MAX: u64 = 8 << 10;

/// How long a connection may take: Prometheus gives up after 10 s by default, too.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers whoever asks, for as long as it is polled.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = places.clone().acquire_owned().await.expect("never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no connection for metrics taken");
                // Out of file descriptors, most likely: let some go first.
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            match timeout(ANSWER_WITHIN, answer(stream, &metrics)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "metrics not told"),
                Err(_) => tracing::debug!("metrics not told in time"),
            }
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, metrics: &Metrics) -> io::Result<()> {
    let line = request_line(&mut stream).await?;
    let mut words = line.split(' ');
    let (status, kind, body) = match (words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some(version)) if version.starts_with("HTTP/1.") => {
            let path = target.split('?').next().unwrap_or_default();
            match (method, path) {
                ("GET", "/metrics") => ("200 OK", OPEN_METRICS, metrics.scrape().await),
                (_, "/metrics") => {
                    ("405 Method Not Allowed\r\nAllow: GET", PLAIN, "only GET\n".to_owned())
                }
                _ => ("404 Not Found", PLAIN, "only /metrics is here\n".to_owned()),
            }
        }
        _ => ("400 Bad Request", PLAIN, "not a request of HTTP/1\n".to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The first line of a request, all of which is read up to the empty line; empty if it is no text,
/// too long or cut off.
async fn request_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut rest = stream.take(HEAD_BYTES_MAX);
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if rest.read_buf(&mut head).await? == 0 {
            return Ok(String::new());
        }
    }
    let text = String::from_utf8(head).unwrap_or_default();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
