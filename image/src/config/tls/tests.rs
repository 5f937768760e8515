//! Configurations in a directory with `www/` and self-signed certificates `a` and `b`, in `.pem` and `.key`.

use crate::config::{Config, ConfigError, ConfigErrors, check};
use model::settings::{ClientCertificates, Key};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        let lab = Self(tempfile::tempdir().expect("a directory"));
        std::fs::create_dir(lab.0.path().join("www")).expect("a directory");
        for name in ["a", "b"] {
            let key = KeyPair::generate().expect("random bytes");
            let mut params = CertificateParams::new(vec![format!("{name}.test")]).expect("a host name");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let certificate = params.self_signed(&key).expect("a key that signs");
            lab.write(&format!("{name}.pem"), &certificate.pem());
            lab.write(&format!("{name}.key"), &key.serialize_pem());
        }
        lab.write("empty.pem", "");
        lab
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.0.path().join(name), content).expect("a file");
    }

    /// A self-signed certificate for these names, valid from and until this many days from now.
    fn certificate(&self, file: &str, names: &[&str], days: (i64, i64)) {
        let key = KeyPair::generate().expect("random bytes");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let from_now = |days| time::OffsetDateTime::now_utc() + time::Duration::days(days);
        (params.not_before, params.not_after) = (from_now(days.0), from_now(days.1));
        self.write(&format!("{file}.pem"), &params.self_signed(&key).expect("a key that signs").pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    /// Expected warnings: line, column, and beginning of each.
    fn warned(&self, text: &str, expected: &[((usize, usize), &str)]) {
        let warnings = self.check(text).expect("valid").warnings;
        let told: Vec<_> = warnings.iter().map(|warning| (warning.at, &*warning.what)).collect();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for ((at, what), (expected_at, begins)) in told.iter().zip(expected) {
            assert!(*at == Some(*expected_at) && what.starts_with(begins), "{told:?}, expected {expected:?}");
        }
    }

    fn check(&self, text: &str) -> Result<Config, ConfigErrors> {
        self.write("weir.toml", text);
        check(&self.0.path().join("weir.toml"))
    }

    /// Expected line, column, and beginning of the error.
    fn refuse(&self, before: &str, cases: &[(&str, (usize, usize), &str)]) {
        for (text, at, what) in cases {
            let errors = self.check(&format!("{before}{text}")).expect_err(text);
            let is = |e: &ConfigError| e.at == Some(*at) && e.what.starts_with(what);
            assert!(errors.0.iter().any(is), "{text}: {errors}");
            assert!(errors.0.iter().all(|error| !error.to_string().contains('\n')), "{errors}");
        }
    }
}

const SITE: &str =
    "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"https://a.test:443/\"\nfiles = \"www\"\n";
const POOL: &str = "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\npool = \"p\"\n[[pool]]\nname = \"p\"\n\
                    [[pool.worker]]\nkind = \"address\"\nat = \"vsock:3:80\"\n[pool.tls]\n";

#[test]
fn certificates_of_sites() {
    let lab = Lab::new();
    let good = "[[site.certificate]]\nchain = \"a.pem\"\nkey = \"a.key\"\n";
    let clients = "[site.tls]\nclient_certificates = \"require\"\nclient_ca = [\"b.pem\"]\ntls12 = false\n";
    let config = lab.check(&format!("{SITE}{good}{clients}")).expect("valid");
    let tls = config.sites[0].tls.as_ref().expect("TLS");
    assert_eq!((tls.certificates.len(), tls.client_anchors.len(), tls.tls12), (1, 1, false));
    assert_eq!(tls.client_certificates, ClientCertificates::Require);
    lab.refuse(
        SITE,
        &[
            (
                "[[site.certificate]]\nchain = \"a.pem\"\nkey = \"b.key\"\n",
                (8, 7),
                "\"b.key\" is not the key of \"a.pem\"",
            ),
            (
                "[[site.certificate]]\nchain = \"no.pem\"\nkey = \"a.key\"\n",
                (7, 9),
                &lab.0.path().display().to_string(),
            ),
            (
                "[[site.certificate]]\nchain = \"a.key\"\nkey = \"a.key\"\n",
                (7, 9),
                "\"a.key\": a private key, expected certificates in PEM; are",
            ),
            (
                "[[site.certificate]]\nchain = \"a.pem\"\nkey = \"a.pem\"\n",
                (8, 7),
                "\"a.pem\": a certificate, expected a private key in PEM; are",
            ),
            (
                "[[site.certificate]]\nchain = \"a.pem\"\n",
                (6, 1),
                "certificate, expected chain and key, or dev",
            ),
            ("[site.tls]\ntls12 = true\n", (6, 1), "tls without a [[site.certificate]]"),
            (
                &format!("{good}[site.tls]\nclient_certificates = \"require\"\n"),
                (10, 23),
                "client certificates without",
            ),
            (
                &format!("{good}[site.tls]\nclient_ca = [\"empty.pem\"]\n"),
                (10, 14),
                "\"empty.pem\": empty, expected",
            ),
            (&format!("{good}[site.tls]\nhsts = \"for ever\"\n"), (10, 8), "hsts \"for ever\""),
        ],
    );
}

/// TLS of `SITE` with this certificate.
fn with(certificate: &str) -> String {
    format!("{SITE}[[site.certificate]]\nchain = \"{certificate}.pem\"\nkey = \"{certificate}.key\"\n")
}

#[test]
fn certificates_that_are_not_in_force_are_told_of() {
    let lab = Lab::new();
    for (name, days, told) in [
        ("expired", (-90, -1), Some("warning: \"expired.pem\" expired on ")),
        ("future", (1, 90), Some("warning: \"future.pem\" is not valid before ")),
        ("ending", (-60, 29), Some("warning: \"ending.pem\" expires on ")),
        ("lasting", (-60, 31), None),
    ] {
        lab.certificate(name, &["a.test"], days);
        let told: Vec<_> = told.map(|what| ((7, 9), what)).into_iter().collect();
        lab.warned(&with(name), &told);
    }
    // Every certificate in use, not only the site's own, in file order.
    let part = |name: &str| std::fs::read_to_string(lab.0.path().join(name)).expect("a file");
    lab.write("chain.pem", &(part("lasting.pem") + &part("expired.pem") + &part("ending.pem")));
    lab.write("chain.key", &part("lasting.key"));
    let clients = "[site.tls]\nclient_certificates = \"request\"\nclient_ca = [\"a.pem\", \"expired.pem\"]\n";
    lab.warned(
        &format!("{}{clients}", with("chain")),
        &[
            ((7, 9), "warning: \"chain.pem\", certificate 2, expired on "),
            ((7, 9), "warning: \"chain.pem\", certificate 3, expires on "),
            ((11, 23), "warning: \"expired.pem\" expired on "),
        ],
    );
    let link = "name = \"w\"\nca = [\"ending.pem\"]\ncertificate = { chain = \"expired.pem\", key = \"expired.key\" }\n";
    lab.warned(
        &format!("{POOL}{link}"),
        &[
            ((13, 7), "warning: \"ending.pem\" expires on "),
            ((14, 25), "warning: \"expired.pem\" expired on "),
        ],
    );
}

#[test]
fn certificates_for_other_names_are_told_of() {
    let lab = Lab::new();
    let site = |host: &str, certificates: &[&str]| {
        let certificate =
            |name: &&str| format!("[[site.certificate]]\nchain = \"{name}.pem\"\nkey = \"{name}.key\"\n");
        let certificates: String = certificates.iter().map(certificate).collect();
        SITE.replace("a.test", host) + &certificates
    };
    let days = (-1, 90);
    lab.certificate("star", &["*.b.test"], days);
    lab.certificate("address", &["192.0.2.1"], days);
    let lacks = |host: &str| {
        format!("warning: no certificate of the site covers the host of \"https://{host}:443/\"")
    };
    for (host, certificates, fits) in [
        ("a.test", &["a"][..], true),
        ("A.test", &["a"], true),
        ("b.test", &["a"], false),
        ("b.test", &["a", "b"], true),
        ("x.a.test", &["a"], false),
        ("x.b.test", &["a", "star"], true),
        ("y.x.b.test", &["a", "star"], false),
        ("b.test", &["a", "star"], false),
        ("*.b.test", &["a", "star"], true),
        ("*.a.test", &["a"], false),
        ("192.0.2.1", &["a", "address"], true),
        ("192.0.2.2", &["a", "address"], false),
    ] {
        let told = lacks(host);
        let told: &[_] = if fits { &[] } else { &[((4, 7), &told[..])] };
        lab.warned(&site(host, certificates), told);
    }
}

#[test]
fn errors_of_certificates_come_in_the_files_order_with_all_others() {
    let lab = Lab::new();
    lab.certificate("expired", &["b.test"], (-90, -1));
    let text = "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"https://a.test:443/\"\nfiles = \"nowhere\"\n\
                [[site.certificate]]\nchain = \"a.pem\"\nkey = \"b.key\"\n\
                [[site.certificate]]\nchain = \"expired.pem\"\nkey = \"expired.key\"\n\
                [[site.certificate]]\nchain = \"no.pem\"\nkey = \"a.key\"\n\
                [site.tls]\nhsts = \"for ever\"\nclient_ca = [\"empty.pem\"]\n";
    let errors = lab.check(text).expect_err("much is wrong");
    let places: Vec<_> = errors.0.iter().filter_map(|error| error.at).collect();
    assert_eq!(places, [(5, 9), (8, 7), (13, 9), (16, 8), (17, 14)], "{errors}");
}

#[test]
fn links_of_pools() {
    let lab = Lab::new();
    let shown = "certificate = { chain = \"a.pem\", key = \"a.key\" }\n";
    let config = lab
        .check(&format!("{POOL}name = \"app.workers\"\nca = [\"a.pem\", \"b.pem\"]\n{shown}"))
        .expect("valid");
    let tls = config.settings().pools[0].tls.clone().expect("TLS");
    assert_eq!((&*tls.name, tls.anchors.len(), tls.certificate.chain.len()), ("app.workers", 2, 1));
    let handed = "certificate = { chain = \"a.pem\", key = \"fw_cfg:links\" }\n";
    let config =
        lab.check(&format!("{POOL}name = \"app.workers\"\nca = [\"b.pem\"]\n{handed}")).expect("valid");
    let tls = config.settings().pools[0].tls.clone().expect("TLS");
    assert_eq!(tls.certificate.key, Key::Handed("links".into()));
    // A development certificate implies its CA.
    let dev = "certificate = { dev = [\"weir\"] }\n";
    let config = lab.check(&format!("{POOL}name = \"app.workers\"\n{dev}")).expect("valid");
    assert_eq!(config.pools[0].tls.as_ref().map(|tls| tls.anchors.len()), Some(1));
    lab.refuse(
        POOL,
        &[
            ("", (11, 1), "missing field `name`"),
            ("name = \"w\"\n", (11, 1), "missing field `certificate`"),
            (&format!("name = \"w\"\n{shown}"), (13, 15), "tls without ca, expected a trust anchor"),
            (&format!("name = \"a b\"\nca = [\"a.pem\"]\n{shown}"), (12, 8), "\"a b\": not a name for workers"),
            (&format!("name = \"w\"\nca = [\"no.pem\"]\n{shown}"), (13, 7), &lab.0.path().display().to_string()),
            (
                "name = \"w\"\nca = [\"a.pem\"]\ncertificate = { chain = \"a.pem\", key = \"b.key\" }\n",
                (14, 40),
                "\"b.key\" is not the key of \"a.pem\"",
            ),
            (
                "name = \"w\"\nca = [\"a.pem\"]\ncertificate = { chain = \"a.pem\", key = \"a.key\", ocsp = \"x\" }\n",
                (14, 56),
                "ocsp for links to workers",
            ),
        ],
    );
}

#[test]
fn nothing_is_protected_where_paths_are_as_they_are() {
    let lab = Lab::new();
    let good =
        "[[site.certificate]]\nchain = \"a.pem\"\nkey = \"a.key\"\n[site.tls]\nclient_ca = [\"b.pem\"]\n";
    let below = |rule: &str| {
        format!(
            "paths = \"as-is\"\n[[site.prefix]]\nurl = \"https://a.test:443/Admin/\"\nfiles = \"www\"\n\
             client_certificates = \"{rule}\"\n{good}"
        )
    };
    let what = "paths \"as-is\" would bypass the client certificate that https://a.test:443/Admin/ requires, expected";
    lab.refuse(SITE, &[(&below("require"), (6, 9), what)]);
    lab.check(&format!("{SITE}{}", below("request"))).expect("nothing is protected");
    lab.check(&format!("{SITE}{}", below("require").replace("as-is", "unambiguous")))
        .expect("nothing leads round it");
}
