//! hyper's server as a second request parser.

use crate::differential::Other;
use crate::host::Meaning;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::mpsc::channel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The first request in these bytes.
pub fn read(request: &[u8]) -> Other {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (sender, meanings) = channel();
    let error = runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(request).await.expect("it fits");
        let service = service_fn(|request: Request<Incoming>| {
            let sender = sender.clone();
            async move {
                let _ = sender.send(meaning(request).await);
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let mut server = std::pin::pin!(
            hyper::server::conn::http1::Builder::new()
                .max_headers(200)
                .serve_connection(TokioIo::new(server), service)
        );
        let mut answer = Vec::new();
        let ended = async {
            // Not closed before the response has begun: hyper would consider the client gone.
            while !answer.windows(9).any(|w| w == b"HTTP/1.1 " || w == b"HTTP/1.0 ") || is_interim(&answer) {
                if client.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        };
        tokio::select! {
            result = &mut server => result.err().map(|error| error.to_string()),
            () = ended => None,
        }
    });
    match (meanings.try_recv(), error) {
        (Ok(meaning), _) => meaning,
        (Err(_), error) => Err(error.unwrap_or_else(|| "refused".to_owned())),
    }
}

/// Whether only 100 (Continue) has arrived.
fn is_interim(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 100") && answer.len() < 40
}

async fn meaning(request: Request<Incoming>) -> Other {
    let (head, body) = request.into_parts();
    let content = body.collect().await.map_err(|error| error.to_string())?.to_bytes().to_vec();
    let version = match head.version {
        Version::HTTP_10 => (1, 0),
        _ => (1, 1),
    };
    let field = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().to_vec())
    };
    Ok(Meaning {
        method: head.method.as_str().to_owned(),
        target: head.uri.to_string(),
        version,
        host: String::new(),
        fields: in_order(head.headers.iter().map(field).collect()),
        content,
        keep_alive: true,
        len: 0,
    })
}

/// Sorts by name, as ours is for the comparison, because a map only preserves the order of a name's values.
pub fn in_order(mut fields: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}
