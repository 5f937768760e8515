//! What a test needs that not every machine has or permits.

/// Lists, separated by spaces, what `tests/run` has installed or has found to be permitted.
const HAVE: &str = "WEIR_TESTS_HAVE";

/// Whether a test can continue. If what it needs is not there, the test is skipped and a line is printed; if the variable says
/// that it is there, the test fails.
#[must_use]
pub fn require(what: &str, is_there: bool) -> bool {
    let have = std::env::var(HAVE).unwrap_or_default();
    let verdict = verdict(what, is_there, &have);
    verdict.unwrap_or_else(|why| panic!("{why}"))
}

fn verdict(what: &str, is_there: bool, have: &str) -> Result<bool, String> {
    if is_there {
        return Ok(true);
    }
    if have.split_whitespace().any(|named| named == what) {
        return Err(format!("{what}: not there, but {HAVE} names it"));
    }
    eprintln!("skipped: needs {what}");
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn what_is_said_to_be_there_is_not_skipped() {
        assert_eq!(verdict("nft", true, ""), Ok(true));
        assert_eq!(verdict("nft", false, "root nft-of-another-kind"), Ok(false));
        assert!(verdict("nft", false, "root nft").is_err_and(|why| why.starts_with("nft: ")));
    }
}
