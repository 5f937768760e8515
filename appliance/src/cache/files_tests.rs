use super::*;
use model::bundle::{Source, encode};
use model::settings::Settings;

fn bundle(files: &[(u16, &str)]) -> Vec<u8> {
    let source = |&(tree, path): &(u16, &str)| Source {
        file: File {
            tree,
            path: path.into(),
            media_type: "text/html\r\nX: y".into(),
            etag: "\"1\"".into(),
            last_modified: 0,
            offset: 0,
            len: 0,
        },
        content: format!("{tree}:{path}").into_bytes(),
    };
    encode(&Settings::default(), files.iter().map(source).collect())
}

fn name(lookup: Lookup<'_, '_>) -> String {
    match lookup {
        Lookup::Found(stored) => String::from_utf8(stored.content().to_vec()).unwrap(),
        Lookup::Directory => "directory".into(),
        Lookup::NotFound => "nothing".into(),
    }
}

#[test]
fn names() {
    let bytes =
        bundle(&[(0, "index.html"), (0, "a/b.css"), (0, "a/index.html"), (1, "a/b.css"), (0, "xindex.html")]);
    let store = StaticStore::new(&Bundle::parse(&bytes).unwrap());
    for (tree, rest, found) in [
        (0, "/", "0:index.html"),
        (0, "", "directory"),
        (0, "/index.html", "0:index.html"),
        (0, "/a", "directory"),
        (0, "/a/", "0:a/index.html"),
        (0, "/a/b.css", "0:a/b.css"),
        (0, "/a/b.css/", "nothing"),
        (0, "/A/b.css", "nothing"),
        (0, "//a/b.css", "nothing"),
        (0, "a/b.css", "nothing"),
        (0, "/x", "nothing"),
        (0, "/xindex.html", "0:xindex.html"),
        (1, "/a/b.css", "1:a/b.css"),
        (1, "/", "nothing"),
        (1, "", "nothing"),
        (1, "/a", "nothing"),
        (2, "/a/b.css", "nothing"),
    ] {
        assert_eq!(name(store.lookup(tree, rest)), found, "{tree} {rest}");
    }
    assert_eq!(store.len(), 5);
}

#[test]
fn an_empty_store() {
    let bytes = bundle(&[]);
    let store = StaticStore::new(&Bundle::parse(&bytes).unwrap());
    assert!(store.is_empty());
    assert_eq!(name(store.lookup(0, "/")), "nothing");
}

#[test]
fn many_files() {
    let paths: Vec<String> = (0..3000).map(|i| format!("d{}/f{i}", i % 7)).collect();
    let bytes = bundle(&paths.iter().map(|p| (0, p.as_str())).collect::<Vec<_>>());
    let store = StaticStore::new(&Bundle::parse(&bytes).unwrap());
    for path in &paths {
        assert_eq!(name(store.lookup(0, &format!("/{path}"))), format!("0:{path}"));
        assert_eq!(name(store.lookup(0, &format!("/{path}x"))), "nothing");
    }
}

#[test]
fn heads() {
    let bytes = bundle(&[(0, "a")]);
    let store = StaticStore::new(&Bundle::parse(&bytes).unwrap());
    let Lookup::Found(stored) = store.lookup(0, "/a") else { panic!() };
    let validators = "ETag: \"1\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    let metadata = format!("Content-Type: text/htmlX: y\r\nAccept-Ranges: bytes\r\n{validators}");
    assert_eq!(stored.validators().as_bytes(), validators.as_bytes());
    assert_eq!(stored.metadata().as_bytes(), metadata.as_bytes());
    assert_eq!(stored.head(), format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n{metadata}").as_bytes());
}
