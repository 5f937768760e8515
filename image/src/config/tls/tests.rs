//! Configurations in a directory with `www/` and certificates `a` and `b`, each its own authority, in `.pem` and `.key`.

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

    fn check(&self, text: &str) -> Result<Config, ConfigErrors> {
        self.write("weir.toml", text);
        check(&self.0.path().join("weir.toml"))
    }

    /// Line, column, and how the error begins.
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
    // A development certificate comes with its authority.
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
    let what = "paths \"as-is\", which lead round the client certificate that https://a.test:443/Admin/ requires, expected";
    lab.refuse(SITE, &[(&below("require"), (6, 9), what)]);
    lab.check(&format!("{SITE}{}", below("request"))).expect("nothing is protected");
    lab.check(&format!("{SITE}{}", below("require").replace("as-is", "unambiguous")))
        .expect("nothing leads round it");
}
