//! A bucket of S3: set up so that one operation is one request, and so that "not done, try again"
//! can be told from a failure.
//!
//! `object_store` would try again itself, would take a 409 for a lost race, and keeps an answer's
//! status to itself. So its retries are off, and the answers that mean "not done, try again" are
//! turned into an error of ours before it sees them. Sources: AWS S3 API reference, "Error
//! responses" (503 SlowDown, 409 ConditionalRequestConflict and OperationAborted); RFC 6585 (429).

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{ClientConfigKey, ClientOptions, RetryConfig};

use super::Busy;

/// Answers by which a store says that it did nothing and would do it later.
const BUSY: [u16; 3] = [409, 429, 503];

pub(super) fn open(url: &str) -> io::Result<AmazonS3> {
    open_with(AmazonS3Builder::from_env(), url)
}

fn open_with(builder: AmazonS3Builder, url: &str) -> io::Result<AmazonS3> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let Some(bucket) = url.strip_prefix("s3://") else {
        return refuse(format!("{url}: begins with s3://"));
    };
    let bucket = bucket.strip_suffix('/').unwrap_or(bucket);
    if bucket.is_empty() || bucket.contains('/') {
        return refuse(format!("{url}: s3:// and the name of a bucket, nothing else"));
    }
    if bucket.ends_with("--x-s3") {
        return refuse(format!("{url}: the lists of a directory bucket have no order"));
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let builder = if plain { builder.with_allow_http(true) } else { builder };
    let retries = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let builder = builder
        .with_bucket_name(bucket)
        .with_s3_express(false)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retries)
        // The time limit of an operation is the caller's.
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), "1h")
        // Else a delete would be a request to delete a list of keys, with errors of its own.
        .with_disable_bulk_delete(true)
        .with_http_connector(Tell);
    Ok(builder.build()?)
}

/// Opens connections whose answers tell when the store is busy.
#[derive(Debug)]
struct Tell;

impl HttpConnector for Tell {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Telling(ReqwestConnector::default().connect(options)?)))
    }
}

struct Telling(HttpClient);

impl fmt::Debug for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telling")
    }
}

impl HttpService for Telling {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let response = self.0.execute(request).await?;
            let status = response.status().as_u16();
            if BUSY.contains(&status) {
                return Err(HttpError::new(HttpErrorKind::Unknown, Busy(status)));
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use broker_core::step::{Cond, Etag, Key, ObjOp, ObjResult};
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::store::{Kind, Store};

    /// What a server was asked.
    type Asked = Arc<Mutex<Vec<String>>>;

    /// A server that gives each request the next of `answers` (or hangs up, if it is empty), one
    /// for each connection.
    async fn serve(answers: &[&str]) -> (Store, Asked) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
        let asked = Asked::default();
        let tell = Arc::clone(&asked);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let request = request(&mut stream).await;
                tell.lock().expect("no panic").push(request);
                stream.write_all(answer.as_bytes()).await.expect("sent");
            }
        });
        let builder = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_region("r")
            .with_access_key_id("a")
            .with_secret_access_key("s");
        let objects = Arc::new(open_with(builder, "s3://bucket").expect("it makes sense"));
        (Store { objects: objects.clone(), kind: Kind::Paged(objects) }, asked)
    }

    /// The first line of a request, and its conditions.
    async fn request(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            text.push(stream.read_u8().await.expect("a header"));
        }
        let text = String::from_utf8(text).expect("ASCII");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
        stream.read_exact(&mut body).await.expect("a body");
        let wanted = |line: &&str| line.starts_with("if-") || line.starts_with("range");
        let first = text.lines().next().expect("a line");
        [first].into_iter().chain(text.lines().filter(wanted)).collect::<Vec<_>>().join("; ")
    }

    fn status(status: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    }

    fn key() -> Key {
        Key("wal/7/k".into())
    }

    fn put(cond: Cond) -> ObjOp {
        ObjOp::Put { key: key(), body: Bytes::from_static(b"body"), cond }
    }

    /// Every answer is that to the one request there was.
    #[tokio::test]
    async fn s3_answer_ends_an_operation_at_the_first_attempt() {
        let create = || put(Cond::IfAbsent);
        let get = || ObjOp::Get { key: key(), range: None };
        let list = || ObjOp::List { prefix: key(), after: None };
        let delete = || ObjOp::Delete { key: key() };
        for (op, code, wanted) in [
            (create(), "412 Precondition Failed", ObjResult::PreconditionFailed),
            (create(), "409 Conflict", ObjResult::SlowDown),
            (create(), "503 Slow Down", ObjResult::SlowDown),
            (create(), "429 Too Many Requests", ObjResult::SlowDown),
            (create(), "500 Internal Server Error", ObjResult::Unknown),
            (create(), "403 Forbidden", ObjResult::Unknown),
            (create(), "404 Not Found", ObjResult::Unknown),
            (create(), "", ObjResult::Unknown),
            (put(Cond::None), "503 Slow Down", ObjResult::SlowDown),
            (put(Cond::None), "500 Internal Server Error", ObjResult::Unknown),
            (put(Cond::None), "", ObjResult::Unknown),
            (get(), "404 Not Found", ObjResult::NotFound),
            (get(), "503 Slow Down", ObjResult::SlowDown),
            (get(), "500 Internal Server Error", ObjResult::Unknown),
            (get(), "", ObjResult::Unknown),
            (list(), "404 Not Found", ObjResult::Unknown),
            (list(), "503 Slow Down", ObjResult::SlowDown),
            (list(), "", ObjResult::Unknown),
            (delete(), "204 No Content", ObjResult::Done { etag: Etag(0) }),
            (delete(), "404 Not Found", ObjResult::Done { etag: Etag(0) }),
            (delete(), "503 Slow Down", ObjResult::SlowDown),
            (delete(), "409 Conflict", ObjResult::SlowDown),
            (delete(), "500 Internal Server Error", ObjResult::Unknown),
            (delete(), "", ObjResult::Unknown),
        ] {
            let answer = if code.is_empty() { String::new() } else { status(code) };
            let (store, asked) = serve(&[&answer, &status("200 OK")]).await;
            assert_eq!(store.perform(op.clone()).await, wanted, "{op:?}: {code:?}");
            let asked = asked.lock().expect("no panic").clone();
            assert_eq!(asked.len(), 1, "{op:?}: {code:?}: {asked:?}");
        }
    }

    #[tokio::test]
    async fn s3_create_is_conditional_and_delete_names_its_key() {
        let done = "HTTP/1.1 200 OK\r\netag: \"1\"\r\ncontent-length: 0\r\n\
                    connection: close\r\n\r\n";
        let (store, asked) = serve(&[done, &status("204 No Content")]).await;
        let created = store.perform(put(Cond::IfAbsent)).await;
        assert!(matches!(created, ObjResult::Done { .. }), "{created:?}");
        store.perform(ObjOp::Delete { key: key() }).await;
        let asked = asked.lock().expect("no panic").clone();
        assert_eq!(
            asked,
            ["PUT /bucket/wal/7/k HTTP/1.1; if-none-match: *", "DELETE /bucket/wal/7/k HTTP/1.1"]
        );
    }

    #[tokio::test]
    async fn s3_list_is_one_request_for_a_literal_prefix() {
        let page = "<ListBucketResult><IsTruncated>true</IsTruncated>\
            <NextContinuationToken>t</NextContinuationToken>\
            <Contents><Key>wal/7/k2</Key><Size>1</Size><ETag>\"1\"</ETag>\
            <LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>";
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", page.len());
        let (store, asked) = serve(&[&(head + page), &status("200 OK")]).await;
        let list = ObjOp::List { prefix: key(), after: Some(Key("wal/7/k1".into())) };
        let keys = vec![Key("wal/7/k2".into())];
        assert_eq!(store.perform(list).await, ObjResult::Keys { keys, more: true });
        let asked = asked.lock().expect("no panic").clone();
        let [asked] = &asked[..] else { panic!("{asked:?}") };
        for part in ["list-type=2", "prefix=wal%2F7%2Fk&", "start-after=wal%2F7%2Fk1"] {
            assert!(asked.replace(' ', "&").contains(part), "{asked} without {part}");
        }
    }

    #[tokio::test]
    async fn s3_range_refused_is_nothing_only_if_it_begins_behind_the_end() {
        let refused = status("416 Range Not Satisfiable");
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\netag: \"1\"\r\n\
                    last-modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nconnection: close\r\n\r\n";
        for (start, wanted) in [(10, Some(10)), (11, Some(10)), (9, None)] {
            let (store, asked) = serve(&[&refused, head]).await;
            let get = ObjOp::Get { key: key(), range: Some((start, start + 5)) };
            match store.perform(get).await {
                ObjResult::Body { data, size, .. } => {
                    assert_eq!((data.len(), Some(size)), (0, wanted), "{start}");
                }
                other => assert_eq!((other, wanted), (ObjResult::Unknown, None), "{start}"),
            }
            let asked = asked.lock().expect("no panic").clone();
            assert!(asked[0].ends_with(&format!("range: bytes={start}-{}", start + 4)));
            assert!(asked[1].starts_with("HEAD "), "{asked:?}");
        }
    }

    #[test]
    fn s3_url_is_a_bucket_and_nothing_else() {
        for url in ["bucket", "https://bucket", "s3://", "s3://bucket/path", "s3://b--x-s3"] {
            assert!(open(url).is_err(), "{url}");
        }
    }
}
