#![cfg_attr(fuzzing, no_main)]
#![allow(missing_docs, reason = "the target is described where it is written")]

weir_fuzz::target!(proxy_header);
