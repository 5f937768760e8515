use super::*;

#[test]
fn unknown_methods() {
    for token in [
        "01234567GET",
        "1GET",
        "-GET",
        "_",
        "!",
        "G!T",
        "GET~",
        "%47ET",
        "G*T",
        "'GET'",
        "GE+T",
        "G|T",
        "^GET",
        "get",
    ] {
        assert_eq!(other_method(token), Err(VERB), "{token}");
    }
    for token in ["PROPFIND", "M-SEARCH", "x", "VERSION-CONTROL", "BAN.2", "X_Y"] {
        assert_eq!(other_method(token), Ok(Method::Other(token)));
    }
}
