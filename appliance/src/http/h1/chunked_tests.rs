use super::*;
use proptest::prelude::*;

/// Decodes input given in pieces; returns content, bytes consumed and whether it finished.
fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), ChunkError> {
    let mut decoder = Decoder::new();
    let (mut content, mut consumed) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let step = decoder.decode(rest)?;
            assert!(step.content.end <= step.consumed);
            content.extend_from_slice(&rest[step.content]);
            consumed += step.consumed;
            rest = &rest[step.consumed..];
            if step.finished {
                return Ok((content, consumed, true));
            }
            if rest.is_empty() {
                break;
            }
        }
    }
    Ok((content, consumed, false))
}

fn one(input: &str) -> Result<String, ChunkError> {
    decode(&[input.as_bytes()]).map(|(content, _, finished)| {
        assert!(finished, "{input:?}");
        String::from_utf8(content).unwrap()
    })
}

#[test]
fn accepted() {
    for (input, content) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
        ("0000000000000005\r\nhello\r\n00\r\n\r\n", "hello"),
        ("5;name=value\r\nhello\r\n0;last\r\n\r\n", "hello"),
        ("5;a=\"q;\\\"\t\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5; a = \"b\" ; c\t;d=e;f\r\nhello\r\n0;a=\"\\ \\\"\"\r\n\r\n", "hello"),
        ("5\r\nhello\r\n0\r\nX-Checksum: 1\r\nEmpty:\r\n\r\n", "hello"),
    ] {
        assert_eq!(one(input).as_deref(), Ok(content), "{input:?}");
    }
}

#[test]
fn refused() {
    use ChunkError::*;
    let long_extension = format!("1;{}\r\na", "x".repeat(300));
    let long_trailer = format!("0\r\n{}", "a: b\r\n".repeat(1000));
    for (input, error) in [
        ("\r\n", Size),
        ("x\r\n", Size),
        ("-1\r\n", Size),
        ("+1\r\n", Size),
        ("0x1\r\n", Size),
        (" 1\r\n", Size),
        ("1 \r\n", Size),
        ("1_\r\n", Size),
        ("\u{661}\r\n", Size),
        (";a\r\n", Size),
        ("10000000000000000\r\n", Overflow),
        ("00000000000000000\r\n", Overflow),
        ("1\r\na\r\nffffffffffffffff\r\n", Overflow),
        ("5\nhello\r\n0\r\n\r\n", LineEnd),
        ("5\r\nhello\n0\r\n\r\n", LineEnd),
        ("5\r\nhello0\r\n\r\n", LineEnd),
        ("5\r\nhello\r0\r\n\r\n", LineEnd),
        ("5\rhello", LineEnd),
        ("5;a\nhello", LineEnd),
        ("0\r\n\n", LineEnd),
        ("0\r\n\r\r", LineEnd),
        ("0\r\na: b\n\r\n", LineEnd),
        ("0\r\na: b\rc", LineEnd),
        ("5;a\u{1}\r\n", Extension),
        ("5;a=\"\r\n", Extension),
        ("5;a=\"\\\r\n", Extension),
        (&long_extension, Extension),
        ("2;\r\nab\r\n", Extension),
        ("2;;\r\nab\r\n", Extension),
        ("2;;a\r\nab\r\n", Extension),
        ("2;a;\r\nab\r\n", Extension),
        ("2;<x>\r\nab\r\n", Extension),
        ("2;a(\r\nab\r\n", Extension),
        ("2;=b\r\nab\r\n", Extension),
        ("2;a=\r\nab\r\n", Extension),
        ("2;a=;b\r\nab\r\n", Extension),
        ("2;a==b\r\nab\r\n", Extension),
        ("2;a=b=c\r\nab\r\n", Extension),
        ("2;a=\"b\"c\r\nab\r\n", Extension),
        ("2;a=b\"c\"\r\nab\r\n", Extension),
        ("2;\"a\"\r\nab\r\n", Extension),
        ("2;a b\r\nab\r\n", Extension),
        ("2;a=b c\r\nab\r\n", Extension),
        ("2;a \r\nab\r\n", Extension),
        ("2; \r\nab\r\n", Extension),
        ("2;a=b \r\nab\r\n", Extension),
        ("2;a,b\r\nab\r\n", Extension),
        ("2;a=\u{e4}\r\nab\r\n", Extension),
        ("2;\r\n", Extension),
        ("0;\r\n\r\n", Extension),
        ("0\r\n: b\r\n\r\n", Trailer),
        ("0\r\na : b\r\n\r\n", Trailer),
        ("0\r\n a: b\r\n\r\n", Trailer),
        ("0\r\na: b\r\n c\r\n\r\n", Trailer),
        ("0\r\na: \0\r\n\r\n", Trailer),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", Trailer),
        ("0\r\nContent-Length: 5\r\n\r\n", Trailer),
        ("0\r\ncontent_length: 5\r\n\r\n", Trailer),
        ("0\r\nTransfer-Encoding: chunked\r\n\r\n", Trailer),
        ("0\r\nHost: a\r\n\r\n", Trailer),
        ("0\r\nauthorization: a\r\n\r\n", Trailer),
        (&long_trailer, Trailer),
    ] {
        assert_eq!(one(input), Err(error), "{input:?}");
    }
}

#[test]
fn no_trailer_of_a_response_is_forbidden() {
    for name in ["Content-Length", "Transfer-Encoding", "Set-Cookie", "Cache-Control", "Content-Type", "Host"]
    {
        let input = format!("1\r\na\r\n0\r\n{name}: 1\r\n\r\n");
        let mut decoder = Decoder::of_response();
        assert_eq!(decoder.decode(input.as_bytes()).map(|d| d.content), Ok(3..4));
        assert!(!decoder.content_is_complete(), "the last chunk is not there");
        assert!(decoder.decode(&input.as_bytes()[4..]).is_ok_and(|d| d.finished), "{name}");
    }
    let mut decoder = Decoder::of_response();
    assert!(decoder.decode(b"0\r").is_ok() && !decoder.content_is_complete());
    assert!(decoder.decode(b"\n").is_ok() && decoder.content_is_complete() && !decoder.is_finished());
    assert_eq!(decoder.decode(b": y\r\n"), Err(ChunkError::Trailer));
}

#[test]
fn extensions_are_bounded_over_the_whole_message() {
    let input = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(100);
    assert_eq!(decode(&[input.as_bytes()]), Err(ChunkError::Extension));
}

#[test]
fn the_next_message_is_left_alone() {
    let input = b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
    assert_eq!(decode(&[input]), Ok((b"a".to_vec(), 11, true)));
}

#[test]
fn headers() {
    for len in [1, 9, 15, 16, 255, 65_535, 65_536, u64::MAX] {
        assert_eq!(ChunkHeader::new(len).as_bytes(), format!("{len:x}\r\n").as_bytes());
    }
    assert_eq!(ChunkHeader::new(0).as_bytes(), b"0\r\n");
}

proptest! {
    #[test]
    fn splits_do_not_matter(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut input = Vec::new();
        for chunk in &chunks {
            input.extend_from_slice(ChunkHeader::new(chunk.len() as u64).as_bytes());
            input.extend_from_slice(chunk);
            input.extend_from_slice(CHUNK_END);
        }
        input.extend_from_slice(LAST_CHUNK);
        if let Some((at, byte)) = broken {
            let at = at.index(input.len());
            input[at] = byte;
        } else {
            let (content, consumed, finished) = decode(&[&input]).unwrap();
            prop_assert_eq!((content, consumed, finished), (chunks.concat(), input.len(), true));
        }
        let whole = decode(&[&input]);
        let mut cuts: Vec<_> = cuts.iter().map(|c| c.index(input.len() + 1)).collect();
        cuts.push(0);
        cuts.push(input.len());
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|w| &input[w[0]..w[1]]).collect();
        prop_assert_eq!(decode(&pieces), whole.clone());
        let bytes: Vec<_> = input.chunks(1).collect();
        prop_assert_eq!(decode(&bytes), whole);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(input: Vec<u8>) {
        let _ = decode(&[&input]);
    }
}
