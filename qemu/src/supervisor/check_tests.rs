use super::*;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::either::Either;

/// Result of checking a server that sends this response, or closes without one.
async fn asked(question: &Question, answer: &'static [u8]) -> Result<Vec<u8>, Unhealthy> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("server");
    let listener = UnixListener::bind(&path).expect("a listener");
    let server = async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut request).await.expect("a request") > 0);
        }
        let _ = stream.write_all(answer).await;
        request
    };
    let stream = UnixStream::connect(&path).await.expect("the listener is there");
    let (request, verdict) = tokio::join!(server, question.ask(Either::Left(stream)));
    verdict.map(|()| request)
}

fn asking(path: &str) -> Question {
    let check = HttpCheck { path: path.into(), host: "shop.test".into(), expect: vec![200..=299, 401..=401] };
    Question { check: Some(check), secured: false }
}

const ANY: Question = Question { check: None, secured: false };

#[tokio::test]
async fn any_answer_will_do_where_nothing_is_said() {
    for answer in [&b"HTTP/1.1 500 Oops\r\n\r\n"[..], b"HTTP/1.0 404 Not Found\r\n\r\nno", b"HTTP/1.1 200"] {
        assert!(asked(&ANY, answer).await.is_ok_and(|request| request.starts_with(b"GET / HTTP/1.1\r\n")));
    }
    for answer in [&b""[..], b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 what\r\n"] {
        assert!(matches!(asked(&ANY, answer).await, Err(Unhealthy::Answered(_))));
    }
    assert!(asked(&Question { secured: true, ..ANY }, b"\x15\x03\x03\0\x02\x02\x16").await.is_ok());
}

#[tokio::test]
async fn the_pools_own_question_has_its_own_answers() {
    let question = asking("/health?deep");
    let request = asked(&question, b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("well");
    assert!(request.starts_with(b"GET /health?deep HTTP/1.1\r\nHost: shop.test\r\n"));
    assert!(asked(&question, b"HTTP/1.1 401 Who\r\n\r\n").await.is_ok());
    let unhealthy = asked(&question, b"HTTP/1.1 503 Not yet\r\n\r\n").await.expect_err("unhealthy");
    assert_eq!(unhealthy.to_string(), "answers its pings with 503 to GET /health?deep");
}
