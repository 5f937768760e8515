//! Pools, workers, their queues and their supervision.

use super::*;

#[test]
fn pools_and_workers() {
    refuse(SITE, &[("[[pool]]\nname = \"p\"\n", (6, 1), "pool without worker")]);
    refuse(
        &format!("{SITE}{POOL}"),
        &[
            ("kind = \"fork\"\n", (9, 8), "kind \"fork\", expected \"vm\", \"process\" or"),
            ("kind = \"vm\"\nimage = \"worker\"\n", (8, 1), "vm worker without memory"),
            ("kind = \"vm\"\nmemory = \"32M\"\n", (8, 1), "vm worker without image"),
            (
                "kind = \"vm\"\nimage = \"worker\"\nmemory = \"32\"\n",
                (11, 10),
                "memory \"32\", expected 16M to",
            ),
            (
                "kind = \"vm\"\nimage = \"worker\"\nmemory = \"8M\"\n",
                (11, 10),
                "memory \"8M\", expected 16M to",
            ),
            (
                "kind = \"vm\"\nimage = \"worker\"\nkernel = \"app.elf\"\n",
                (11, 10),
                "image with kernel or initrd, expected only one of them",
            ),
            (
                "kind = \"vm\"\nimage = \"worker\"\ninitrd = \"app.elf\"\n",
                (11, 10),
                "image with kernel or initrd, expected only one of them",
            ),
            ("kind = \"vm\"\nkernel = \"app.elf\"\n", (10, 10), "kernel or initrd missing, expected both"),
            ("kind = \"vm\"\ninitrd = \"app.elf\"\n", (10, 10), "kernel or initrd missing, expected both"),
            ("kind = \"vm\"\nkernel = \"none\"\ninitrd = \"app.elf\"\n", (10, 10), "/"),
            ("kind = \"vm\"\nkernel = \"app.elf\"\ninitrd = \"none\"\n", (11, 10), "/"),
            ("kind = \"vm\"\nkernel = \"app.elf\"\ninitrd = \"www\"\n", (11, 10), "/"),
            ("kind = \"vm\"\nimage = \"worker\"\nappend = \"a\"\n", (11, 10), "append without kernel"),
            (
                "kind = \"vm\"\nkernel = \"app.elf\"\ninitrd = \"app.elf\"\nappend = \"a\\nb\"\n",
                (12, 10),
                "append, expected at most 1024 bytes of printable ASCII",
            ),
            (
                "kind = \"vm\"\nkernel = \"app.elf\"\ninitrd = \"app.elf\"\n",
                (8, 1),
                "vm worker without memory",
            ),
            (
                "kind = \"address\"\nat = \"vsock:3:1\"\nkernel = \"app.elf\"\n",
                (11, 10),
                "kernel with kind \"address\"",
            ),
            ("kind = \"vm\"\nimage = \"none.elf\"\nmemory = \"32M\"\n", (10, 9), "/"),
            ("kind = \"vm\"\nat = \"vsock:3:1\"\n", (10, 6), "at with kind \"vm\""),
            ("kind = \"address\"\n", (8, 1), "address worker without at"),
            (
                "kind = \"address\"\nat = \"vsock:3:1\"\nmemory = \"32M\"\n",
                (11, 10),
                "memory with kind \"address\"",
            ),
            ("kind = \"address\"\nat = \"vsock:1:1\"\n", (10, 6), "address \"vsock:1:1\", expected"),
            ("kind = \"address\"\nat = \"vsock:4294967295:1\"\n", (10, 6), "address \"vsock"),
            ("kind = \"address\"\nat = \"tcp:localhost\"\n", (10, 6), "address \"tcp:localhost\", expected"),
            ("kind = \"address\"\nat = \"tcp:h:0\"\n", (10, 6), "address \"tcp:h:0\", expected"),
            ("kind = \"address\"\nat = \"tcp:::1:80\"\n", (10, 6), "address \"tcp:::1:80\", expected"),
            ("kind = \"address\"\nat = \"unix:\"\n", (10, 6), "address \"unix:\", expected"),
            ("kind = \"address\"\nat = \"http://x\"\n", (10, 6), "address \"http://x\", expected"),
            ("kind = \"address\"\nat = \"vsock:3:1\"\ninstances = 2\n", (11, 13), "instances with kind"),
            ("kind = \"process\"\n", (8, 1), "process worker without command"),
            ("kind = \"process\"\ncommand = []\n", (10, 11), "empty command"),
            ("kind = \"process\"\ncommand = [\"no-such-program\"]\n", (10, 11), "no-such-program: not found"),
            ("kind = \"process\"\ncommand = [\"./none\"]\n", (10, 11), "./none: not found"),
            ("kind = \"process\"\ncommand = [\"./app.elf\"]\n", (10, 11), "/"),
            ("kind = \"process\"\ncommand = [\"sh\"]\ndirectory = \"none\"\n", (11, 13), "/"),
            (
                "kind = \"process\"\ncommand = [\"sh\"]\nuser = \"no such\"\n",
                (11, 8),
                "user \"no such\" is unknown, expected",
            ),
            (
                "kind = \"process\"\ncommand = [\"sh\"]\nenvironment = { PORT = \"1\" }\n",
                (11, 17),
                "variable \"PORT\" is set by weir",
            ),
            (
                "kind = \"process\"\ncommand = [\"sh\"]\nenvironment = \"A=b\"\n",
                (11, 15),
                "invalid type: string, expected",
            ),
            ("kind = \"vm\"\nuser = \"root\"\n", (10, 8), "user with kind \"vm\""),
            ("kind = \"process\"\ncommand = [\"sh\", \"{socket}{port}\"]\n", (10, 11), "both {socket} and"),
            ("kind = \"process\"\ncommand = [\"sh\"]\ninstances = 0\n", (11, 13), "instances 0, expected"),
            ("kind = \"process\"\ncommand = [\"sh\"]\ninstances = 65\n", (11, 13), "instances 65, expected"),
        ],
    );
}

#[test]
fn queue_settings() {
    let pool = |keys: &str| {
        format!(
            "{SITE}[[pool]]\nname = \"p\"\n{keys}[[pool.worker]]\nkind = \"address\"\nat = \"vsock:3:8080\"\n"
        )
    };
    let keys = "queue_length = 5\nqueue_timeout = 7\nresponse_timeout = 9\nverbosity = \"full\"\n\
                response_head_bytes = 100000\nresponse_fields = 300\n";
    let settings = check_text(&pool(keys)).expect("valid").settings();
    let read = &settings.pools[0];
    assert_eq!(
        (read.queue_length, read.queue_timeout_s, read.response_timeout_s),
        (Some(5), Some(7), Some(9))
    );
    assert_eq!(read.verbosity, settings::Verbosity::Full);
    assert_eq!((read.response_head_bytes, read.response_fields), (Some(100_000), Some(300)));
    let start = format!("{SITE}[[pool]]\nname = \"p\"\n");
    refuse(
        &start,
        &[
            ("queue_length = 0", (8, 16), "queue_length 0"),
            ("queue_timeout = -1", (8, 17), "queue_timeout -1"),
            ("response_timeout = 90000", (8, 20), "response_timeout 90000"),
            ("verbosity = \"chatty\"", (8, 13), "verbosity \"chatty\""),
            (
                "response_head_bytes = 1000",
                (8, 23),
                "response_head_bytes 1000, expected 1024 to 1048576 bytes",
            ),
            ("response_fields = 513", (8, 19), "response_fields 513, expected 16 to 512 fields"),
        ],
    );
}

#[test]
fn supervision() {
    let worker = "[[pool.worker]]\nkind = \"process\"\ncommand = [\"sh\", \"{port}\"]\ninstances = 3\n";
    let read = |keys: &str| check_text(&format!("{SITE}[[pool]]\nname = \"p\"\n{keys}{worker}"));
    let pool = |keys| read(keys).expect("valid").pools.remove(0);
    let plain = pool("");
    assert_eq!(plain.supervision, Supervision { max_workers: 3, ..Supervision::default() });
    assert_eq!(plain.workers[0].instances, 3);
    let WorkerKind::Process(Process { command, listens_on: ListensOn::Port, .. }) = &plain.workers[0].kind
    else {
        panic!("{:?}", plain.workers[0].kind)
    };
    assert!(command[0].starts_with('/') && command[1] == "{port}");
    let keys = "min_workers = 1\nmax_workers = 2\nstart_limit = 5\nstop_limit = 6\nidle_stop = 0\n\
                orphan = [\"gdb\", \"-p\", \"{pid}\"]\n[pool.ping]\ninterval = 1\nlimit = 3\n\
                path = \"/health?deep\"\nhost = \"shop.test\"\nexpect = [200, \"300-399\"]\n\
                [pool.rapid_fail]\nfailures = 0\nrecover = false\n[pool.recycle]\nage = 0\nrequests = 9\nmemory = \"1 MiB\"\n";
    let seconds = std::time::Duration::from_secs;
    let expected = Supervision {
        min_workers: 1,
        max_workers: 2,
        start_limit: seconds(5),
        stop_limit: seconds(6),
        ping: Ping {
            interval: seconds(1),
            limit: seconds(3),
            check: Some(HttpCheck {
                path: "/health?deep".into(),
                host: "shop.test".into(),
                expect: vec![200..=200, 300..=399],
            }),
        },
        idle_stop: None,
        rapid_fail: None,
        recover: false,
        recycle: Recycle { age: None, requests: Some(9), memory: Some(1 << 20) },
        orphan: Some(vec!["gdb".into(), "-p".into(), "{pid}".into()]),
    };
    assert_eq!(pool(keys).supervision, expected);
    let wrong = |keys: &str| read(keys).expect_err(keys).to_string();
    assert!(wrong("start_limit = 0\n").contains(":8:15: start_limit 0, expected 1 to"));
    assert!(wrong("min_workers = 4\n").contains(":8:15: min_workers 4, expected 0 to 3"));
    assert!(
        wrong("min_workers = 2\nmax_workers = 1\n").contains(":9:15: max_workers 1, expected at least 2")
    );
    assert!(wrong("[pool.recycle]\nmemory = \"1\"\n").contains(":9:10: memory"));
    for (keys, says) in [
        ("interval = 3\nlimit = 3\n", ":10:9: limit 3, expected more seconds than interval, which is 3"),
        ("expect = 200\n", ":9:10: expect without path, expected both"),
        ("path = \"health\"\n", ":9:8: path \"health\", expected a path"),
        ("path = \"/\"\nhost = \"a b\"\n", ":10:8: host \"a b\", expected a host"),
        ("path = \"/\"\nexpect = \"299-200\"\n", ":10:10: expect \"299-200\", expected a status"),
        ("path = \"/\"\nexpect = [200, 5]\n", ":10:10: expect [200, 5], expected a status"),
    ] {
        let error = wrong(&format!("[pool.ping]\n{keys}"));
        assert!(error.contains(says), "{error}");
    }
    let ping = |keys| pool(keys).supervision.ping;
    assert_eq!(ping("[pool.ping]\nlimit = 6\n").interval, seconds(2), "there is time for three");
    assert_eq!(ping("[pool.ping]\ninterval = 60\n").limit, seconds(180));
    let check = ping("[pool.ping]\npath = \"/\"\n").check.expect("a check");
    assert_eq!((check.host.as_str(), check.expect), ("localhost", vec![200..=399]));
    assert!(wrong("[pool.ping]\ntimeout = 1\n").contains("unknown field `timeout`"));
    let many = worker.repeat(22);
    let error = check_text(&format!("{SITE}[[pool]]\nname = \"p\"\n{many}")).expect_err("too many");
    assert!(error.to_string().contains("66 workers in one pool"), "{error}");
}
