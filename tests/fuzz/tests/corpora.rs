//! Every file of every corpus once, without instrumentation.

use std::path::Path;

#[test]
fn corpora_hold() {
    for (name, target) in weir_fuzz::TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut count = 0;
        for entry in std::fs::read_dir(&directory).expect("a corpus") {
            let path = entry.expect("an entry").path();
            let data = std::fs::read(&path).expect("a file");
            let held = std::panic::catch_unwind(|| target(&data));
            assert!(held.is_ok(), "{name}: {}", path.display());
            count += 1;
        }
        assert!(count > 0, "{name}: the corpus is empty");
    }
}
