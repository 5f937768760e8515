//! Positions and messages of errors and warnings.

use super::*;

#[test]
fn a_file_that_is_not_there() {
    let errors = check(Path::new("/nonexistent/weir.toml")).expect_err("missing");
    let [error] = &errors.0[..] else { panic!("{errors}") };
    assert_eq!(error.at, None);
    assert!(error.to_string().starts_with("/nonexistent/weir.toml: "), "{error}");
}

#[test]
fn what_is_not_toml_or_not_known() {
    refuse(
        "",
        &[
            ("", (1, 1), "no site"),
            ("[server]\nadress = \"x\"\n", (2, 1), "unknown field `adress`, expected"),
            ("[server]\naddress = 5\n", (2, 11), "invalid type: integer `5`, expected"),
            ("sites = 1\n", (1, 1), "unknown field `sites`, expected one of `server`, `site`, `pool`"),
            ("[[site]]\nnome = \"a\"\n", (2, 1), "unknown field `nome`"),
            ("\n[[site]]\n", (2, 1), "missing field `name`"),
            ("[server]\n\"\u{e4}\u{f6}\" = 1\n", (2, 1), "unknown field"),
        ],
    );
    for text in ["[server\n", "x", "a = \"", "[server]\naddress = \"a\"\naddress = \"b\"\n"] {
        let error = check_text(text).expect_err(text);
        assert!(error.at.is_some() && !error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn all_errors_at_once_in_the_files_order() {
    let text = "[server]\nadress = \"x\"\naddress = 5\nshutdown_limit = -1\n[server.bandwidth]\nceil = \"1 B/s\"\n\
                [[site]]\nname = \"a b\"\n[[site.prefix]]\nurl = 7\nfiles = \"none\"\n[[site.prefix]]\n\
                url = \"http://*:80/a\"\npool = \"q\"\n[site.limits]\nconnections = 0\nrequests = \"5\"\n\
                [[site]]\n[[site.prefix]]\nurl = \"http://b:80/\"\npool = \"p\"\n[[site.prefix]]\n\
                url = \"http://b:80/\"\nfiles = \"www\"\n[[pool]]\nname = \"p\"\nqueue_length = 0\nmin_workers = true\n\
                [[pool.worker]]\nkind = \"fork\"\n[[pool.worker]]\nkind = \"process\"\ncommand = \"run me\"\n\
                directory = \"none\"\n[[pool.worker]]\nkind = \"vm\"\nat = \"x\"\n[log]\nfields = [\"x\", \"y\"]\n";
    let errors = check_all(&directory(), text).expect_err("wrong");
    let found: Vec<_> = errors.0.iter().map(|e| (e.at.expect("a place"), e.what.as_str())).collect();
    let expected = [
        ((2, 1), "unknown field `adress`, expected"),
        ((3, 11), "invalid type: integer `5`, expected a string"),
        ((4, 18), "shutdown_limit -1, expected"),
        ((6, 8), "ceil \"1 B/s\", expected 1024 B/s"),
        ((8, 8), "name \"a b\", expected"),
        ((10, 7), "invalid type: integer `7`, expected a string"),
        ((11, 9), "/"),
        ((13, 21), "path, expected `/` at its end"),
        ((14, 8), "unknown pool \"q\", expected"),
        ((16, 15), "connections 0, expected"),
        ((17, 12), "requests \"5\", expected"),
        ((18, 1), "missing field `name`, expected it"),
        ((23, 7), "duplicate URL prefix, expected"),
        ((27, 16), "queue_length 0, expected"),
        ((28, 15), "invalid type: boolean `true`, expected"),
        ((30, 8), "kind \"fork\", expected"),
        ((33, 11), "invalid type: string, expected"),
        ((34, 13), "/"),
        ((35, 1), "vm worker without memory, expected it"),
        ((35, 1), "vm worker without image, expected one"),
        ((37, 6), "at with kind \"vm\", expected none"),
        ((38, 1), "missing field `directory`, expected it"),
        ((39, 11), "field \"x\" is unknown, expected"),
        ((39, 16), "field \"y\" is unknown, expected"),
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found.0 == expected.0 && found.1.starts_with(expected.1),
            "{found:?}\n{expected:?}\n{errors}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{errors}");
    assert_eq!(errors.to_string().lines().count(), found.len());
    // The number of reported errors is limited.
    let many = check_all(&directory(), &"[[site]]\n".repeat(300)).expect_err("wrong");
    assert!(many.0.len() == 100 && many.0[99].what.ends_with("are not shown"), "{many}");
}

/// Expected line, column, and beginning of each warning, in order.
fn warned(dir: &tempfile::TempDir, text: &str, expected: &[((usize, usize), &str)]) {
    let config = check_in(dir, text).expect("right");
    let found: Vec<_> = config.warnings.iter().map(|w| (w.at.expect("a place"), w.what.as_str())).collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.0 == expected.0 && found.1.starts_with(expected.1), "{found:?}\n{expected:?}");
    }
}

#[test]
fn what_is_odd_is_warned_of() {
    let dir = directory();
    let secure = "[[site.prefix]]\nurl = \"https://*:443/\"\nfiles = \"www\"\n[[site.certificate]]\ndev = [\"localhost\"]\n";
    warned(&dir, &format!("{SITE}{secure}"), &[]);
    let redirect =
        |port: u16| SITE.replace("name = \"a\"\n", &format!("name = \"a\"\nredirect_https = {port}\n"));
    warned(&dir, &format!("{}{secure}", redirect(443)), &[]);
    let forwarded = "warning: redirect_https 8443 is not the port of an https prefix, expected 443, unless";
    warned(&dir, &format!("{}{secure}", redirect(8443)), &[((3, 18), forwarded)]);
    let alone = "warning: redirect_https 443 is not the port of an https prefix, expected an https prefix";
    warned(&dir, &redirect(443), &[((3, 18), alone)]);
    let pool = format!("{SITE}{POOL}kind = \"address\"\nat = \"tcp:a:1\"\n");
    warned(&dir, &pool, &[((7, 8), "warning: unused pool \"p\"")]);
    let strong = "[[site.prefix]]\nurl = \"http://+:80/a/\"\nfiles = \"www\"\n\
                  [[site.prefix]]\nurl = \"http://b:80/a/b/\"\nnobody = \"reserved\"\n\
                  [[site.prefix]]\nurl = \"http://b:80/b/\"\nnobody = \"reserved\"\n";
    let shadowed = "warning: unreachable prefix, expected one that \"http://+:80/a/\" does not cover";
    warned(&dir, &format!("{SITE}{strong}"), &[((10, 7), shadowed)]);
    // Even root cannot write to /proc.
    let log = |path: &str| format!("{SITE}[log]\ndirectory = \"{path}\"\n");
    warned(&dir, &log("new/and/deep"), &[]);
    assert!(
        check_in(&dir, &log("www/a.html/logs")).is_err_and(|e| e.what.contains("not a directory, expected"))
    );
}

#[test]
fn files_that_no_request_can_ask_for_are_named() {
    let dir = directory();
    for name in ["b c.html", "\u{fc}.html", "x\ny", "back\\slash", "a%2Fb", &"l".repeat(255)] {
        std::fs::write(dir.path().join("www").join(name), "").expect("file");
    }
    let lost = |name: &str| format!("warning: no request can reach the file {name:?}, expected");
    let names = ["a%2Fb", "back\\slash", "x\ny"].map(lost);
    let [one, two, three] = names.each_ref().map(|what| ((5, 9), what.as_str()));
    warned(&dir, SITE, &[one, two, three]);
    let long = lost(&"l".repeat(255));
    let limits = "[site.http]\nurl_segment_max_length = 254\n";
    warned(&dir, &format!("{SITE}{limits}"), &[one, two, ((5, 9), &long), three]);
}

#[test]
fn no_error_shows_a_key_that_was_pasted() {
    let key = rcgen::KeyPair::generate().expect("random bytes").serialize_pem();
    let (flat, literal) = (key.replace('\n', ""), key.replace('\n', "\\n"));
    let body = key.lines().nth(1).expect("a line");
    let places = [
        "K",
        "\"\"\"K\"\"\"",
        "[site]\nname = \"K\"",
        "[[site]]\nname = \"\"\"K\"\"\"\n[[site.prefix]]\nurl = \"\"\"K\"\"\"\nfiles = \"\"\"K\"\"\"\n",
        "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"https://a:443/\"\npool = \"\"\"K\"\"\"\n[[site.certificate]]\n\
         chain = \"\"\"K\"\"\"\nkey = \"\"\"K\"\"\"\nocsp = \"\"\"K\"\"\"\n",
        "[log]\nformat = \"\"\"K\"\"\"\nkeep = \"\"\"K\"\"\"\nK = 1\n'K' = 1\n",
        "[[pool]]\nname = \"a\"\n[[pool.worker]]\nkind = \"process\"\ncommand = \"\"\"K\"\"\"\nenvironment = { A = \"K\", \"K\" = 1 }\n",
        "[[pool]]\nname = \"a\"\n[[pool.worker]]\nkind = \"process\"\ncommand = [\"\"\"K\"\"\"]\nuser = \"\"\"K\"\"\"\ndirectory = \"\"\"K\"\"\"\n",
        "[[pool]]\nname = \"a\"\n[[pool.worker]]\nkind = \"address\"\nat = \"\"\"K\"\"\"\nimage = \"\"\"K\"\"\"\n",
    ];
    for form in [key.as_str(), &flat, &literal, body] {
        for place in places {
            let text = place.replace('K', form);
            let errors = check_text(&text).map(drop).expect_err("no configuration");
            let all = check_all(&directory(), &text).expect_err("none").to_string();
            for piece in [&body[..12], &body[20..32], &body[body.len() - 12..]] {
                assert!(!all.contains(piece) && !format!("{errors:?}").is_empty(), "{place}: {all}");
            }
        }
    }
}
