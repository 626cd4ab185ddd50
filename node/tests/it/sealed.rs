//! Encryption at rest on real nodes: what their disks show, and what becomes of a node that gets no keys.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use only1mcp_keys::{KeyFile, KeyRing};
use only1mcp_storage::DataFolder;
use serde_json::json;

use crate::cluster::{Cluster, eventually, run, run_in};
use crate::members::{prepare, token};
use crate::moto::{Fault, Moto, Proxy, REGION};

/// Everything that was planted, by a name to report it under.
struct Planted(Vec<(&'static str, Vec<u8>)>);

impl Planted {
    fn found_in(&self, content: &[u8]) -> Vec<&'static str> {
        let shows = |word: &[u8]| memchr::memmem::find(content, word).is_some();
        self.0.iter().filter(|(_, word)| shows(word)).map(|(what, _)| *what).collect()
    }
}

fn every_file(folder: &Path, each: &mut dyn FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            every_file(&path, each);
        } else if kind.is_file() {
            each(&path, &std::fs::read(&path).unwrap());
        }
    }
}

/// The secret part of a key, as only its holder has it.
fn secret_of(key: &str) -> String {
    key[key.len() - 40..].to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_of_any_node_shows_what_it_was_told() {
    let mut cluster = Cluster::start(91).await;
    let mut planted = Planted(Vec::new());
    let mut plant = |what, word: &str| planted.0.push((what, word.as_bytes().to_vec()));
    let person = "wilhelmina.plantedid@example.org";
    plant("principal id", person);
    plant("e-mail address", "planted.mail@example.com");
    plant("name of a person", "Wilhelmina Plantedname");
    plant("upstream secret", "planted-upstream-secret-7f3a");
    plant("arguments of a call", "planted-argument-51c9");
    plant("description of a role", "planted-description-of-a-role");
    plant("the operator's key", &secret_of(&cluster.root_key()));
    plant("a developer's key", &secret_of(&cluster.key("developer")));
    let acme = |args: &[&str]| {
        [args, &["--tenant", "acme"]].concat().iter().map(|a| (*a).to_owned()).collect::<Vec<_>>()
    };
    let ctl = async |args: Vec<String>| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        cluster.ctl(1, &args).await
    };
    let names = ["--display-name", "Wilhelmina Plantedname", "--email", "planted.mail@example.com"];
    ctl(acme(&[["principal", "create", person].as_slice(), &names].concat())).await;
    ctl(acme(&["grant", "create", "--principal", person, "--role", "developer", "--wait"])).await;
    let made = ctl(acme(&["key", "create", "--principal", person])).await;
    let key = made["key"].as_str().or(made["secret"].as_str()).unwrap_or_else(|| panic!("{made}")).to_owned();
    plant("a made key", &secret_of(&key));
    let header = ["--header", "authorization=planted-upstream-secret-7f3a"];
    ctl(acme(&[["upstream", "add", "far", "--url", "http://127.0.0.1:9/mcp"].as_slice(), &header].concat()))
        .await;
    let hook = ctl(acme(&["webhook", "set", "hook", "--url", "http://127.0.0.1:9/hook"])).await;
    let hook = hook["secret"].as_str().unwrap_or_else(|| panic!("{hook}")).to_owned();
    let hook = hook.strip_prefix("whsec_").unwrap();
    plant("a webhook's secret", hook);
    planted.0.push(("a webhook's secret, decoded", STANDARD.decode(hook).unwrap()));
    for number in 1..=3 {
        let mut client = cluster.client(number, &key).await;
        for _ in 0..20 {
            let answer = client.call("demo__echo", json!({"text": "planted-argument-51c9"})).await;
            assert!(answer.receipt().is_some(), "{answer:?}");
        }
        client.call("demo__admin_only", json!({"text": "planted-argument-51c9"})).await;
    }
    // A new data key while calls go on: what was sealed before still opens at the next start.
    let config = cluster.path("node-2.yaml");
    let (done, said) = run(&["keys", "rotate", "--config", config.to_str().unwrap()]).await;
    assert!(done && said.contains("data key 4 seals"), "{said}");
    eventually("rows and segments are sealed again under it", async || {
        let (done, said) = run(&["keys", "show", "--config", config.to_str().unwrap()]).await;
        assert!(done && said.contains("data key 1: opens"), "{said}");
        said.contains("not under way; since the start 1 rounds") && !said.contains(" 0 bytes sealed again")
    })
    .await;
    let mut client = cluster.client(2, &key).await;
    for _ in 0..20 {
        let answer = client.call("demo__echo", json!({"text": "planted-argument-51c9"})).await;
        assert!(answer.receipt().is_some(), "{answer:?}");
    }
    key_encryption_keys_change_while_a_node_serves(&cluster).await;
    // Nor does a backup show anything.
    let backups = cluster.path("backups");
    let to = ["backup", "create", "--to", backups.to_str().unwrap()];
    let unsaid = cluster.try_ctl(1, &cluster.root_key(), &to).await.unwrap_err();
    assert!(unsaid.contains("--plaintext"), "{unsaid}");
    cluster.ctl(1, &[&to[..], &["--keys", config.to_str().unwrap()]].concat()).await;
    every_file(&backups, &mut |path, content| {
        let found = planted.found_in(content);
        assert!(found.is_empty(), "{} shows: {found:?}", path.display());
    });
    let clear =
        cluster.try_ctl(1, &cluster.root_key(), &[&to[..], &["--plaintext"]].concat()).await.unwrap_err();
    assert!(clear.contains("are encrypted"), "{clear}");
    // What protects backups is not removed either.
    let file = cluster.path("keys/node-2.json");
    let old = wrapping(&file);
    let (done, said) = run(&["keys", "add", "--file", file.to_str().unwrap()]).await;
    assert!(done, "{said}");
    let (done, said) = run(&["keys", "rewrap", "--config", config.to_str().unwrap()]).await;
    assert!(done, "{said}");
    let remove = ["keys", "remove", "--file", file.to_str().unwrap(), "--key", &old, "--config"];
    let remove = [&remove[..], &[config.to_str().unwrap(), "--backups", backups.to_str().unwrap()]].concat();
    let (done, said) = run(&remove).await;
    assert!(!done && said.contains("KEY_IN_USE") && said.contains("of the backups in"), "{said}");
    // One ends as it should, the others as a power cut would have it: what they held back is written, or is not.
    cluster.kill(2);
    cluster.restart(2).await;
    cluster.kill(3);
    cluster.kill(1);
    cluster.end(2).await;
    for number in 1..=3 {
        planted.0.extend(keys_of(&cluster, number).await);
    }
    let (mut files, mut bytes) = (0, 0);
    for number in 1..=3 {
        let folder = cluster.path(&format!("node-{number}"));
        assert!(folder.join("key-ring").is_file());
        every_file(&folder, &mut |path, content| {
            files += 1;
            bytes += content.len();
            let found = planted.found_in(content);
            assert!(found.is_empty(), "{} shows: {found:?}", path.display());
        });
        let log = cluster.log(&format!("node-{number}.log"));
        let secrets = [
            "a webhook's secret, decoded",
            "upstream secret",
            "the operator's key",
            "a developer's key",
            "a made key",
            "a webhook's secret",
            "a key of the ring",
            "a key of the ring, base64",
            "a key of the ring, hexadecimal",
        ];
        let told: Vec<_> =
            planted.found_in(log.as_bytes()).into_iter().filter(|what| secrets.contains(what)).collect();
        assert!(told.is_empty(), "the log of node {number} shows: {told:?}");
        let keys = std::fs::read_to_string(cluster.path(&format!("keys/node-{number}.json"))).unwrap();
        let own = keys.split('"').find(|word| word.len() == 44).unwrap();
        assert!(!log.contains(own), "the log of node {number} shows its key");
    }
    assert!(files > 30 && bytes > 200_000, "{files} files of {bytes} bytes were looked at");

    // Doctor reads it with the keys, and says what it lacks without.
    let (folder, config) = (cluster.path("node-1"), cluster.path("node-1.yaml"));
    let (folder, config) = (folder.to_str().unwrap(), config.to_str().unwrap());
    let (sound, said) = run(&["doctor", folder, "--config", config]).await;
    assert!(sound && said.contains("The folder is sound.") && said.contains("its key ring opens"), "{said}");
    let keys = cluster.path("keys/node-1.json");
    let (sound, said) = run(&["doctor", folder, "--keys", keys.to_str().unwrap()]).await;
    assert!(sound, "{said}");
    let (sound, said) = run(&["doctor", folder]).await;
    assert!(!sound && said.contains("--config"), "{said}");
    let others = cluster.path("keys/node-2.json");
    let (sound, said) = run(&["doctor", folder, "--keys", others.to_str().unwrap()]).await;
    assert!(!sound && said.contains("holds no key"), "{said}");

    // A new key-encryption key: the node starts with it, and calls go on.
    let (done, said) = run(&["keys", "add", "--file", keys.to_str().unwrap()]).await;
    assert!(done, "{said}");
    let (done, said) = run(&["keys", "rewrap", "--config", config]).await;
    assert!(done, "{said}");
    // One that is in use and not to be had is named.
    let (kept, none) = (std::fs::read_to_string(&keys).unwrap(), cluster.path("keys/none.json"));
    let (done, said) = run(&["keys", "init", "--file", none.to_str().unwrap()]).await;
    assert!(done && said.contains("keys: { file: "), "{said}");
    std::fs::copy(&none, &keys).unwrap();
    cluster.spawn(1);
    eventually("node 1 says which key it lacks", async || {
        let log = cluster.log("node-1.log");
        log.contains("KEY_MISSING") && log.contains("which wraps data key 1, the key for names")
    })
    .await;
    cluster.kill(1);
    std::fs::write(&keys, kept).unwrap();
    // A folder that was encrypted is not opened in the clear, and not without its ring.
    let text = std::fs::read_to_string(config).unwrap();
    std::fs::write(config, text.replace("keys:\n  file: keys/node-1.json", "keys:\n  plaintext: true"))
        .unwrap();
    assert_ne!(std::fs::read_to_string(config).unwrap(), text);
    cluster.spawn(1);
    assert_eq!(cluster.exit_code(1).await, Some(1));
    assert!(cluster.log("node-1.log").contains("the data folder is encrypted"));
    std::fs::write(config, &text).unwrap();
    let ring = Path::new(folder).join("key-ring");
    let kept = std::fs::read(&ring).unwrap();
    std::fs::remove_file(&ring).unwrap();
    cluster.spawn(1);
    assert_eq!(cluster.exit_code(1).await, Some(1));
    assert!(cluster.log("node-1.log").contains("has lost its file `key-ring`"));
    std::fs::write(&ring, kept).unwrap();
    cluster.spawn(1);
    cluster.spawn(2);
    cluster.wait_ready(1).await;
    cluster.wait_ready(2).await;
}

/// The id of the key that wraps in a key file.
fn wrapping(file: &Path) -> String {
    KeyFile::open(file).unwrap().current()
}

/// Each key in the ring of a node that does not run, in the forms in which one might be shown.
async fn keys_of(cluster: &Cluster, number: usize) -> Vec<(&'static str, Vec<u8>)> {
    let folder = DataFolder::existing(cluster.path(&format!("node-{number}"))).unwrap();
    let file = KeyFile::open(&cluster.path(&format!("keys/node-{number}.json"))).unwrap();
    let keys = KeyRing::read(&folder).unwrap().unwrap().open(&file).await.unwrap();
    let all: Vec<_> = keys.data.values().chain(keys.generations.values()).chain([&keys.names]).collect();
    assert!(all.len() >= 3, "a data key, one for names, and a generation");
    let forms = all.into_iter().flat_map(|key| {
        let hex: String = key.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        [
            ("a key of the ring", key.bytes().to_vec()),
            ("a key of the ring, base64", STANDARD.encode(key.bytes()).into_bytes()),
            ("a key of the ring, hexadecimal", hex.into_bytes()),
        ]
    });
    forms.collect()
}

/// On node 2: a key in use is not removed; once everything is wrapped by another, it is, and the node starts without it.
async fn key_encryption_keys_change_while_a_node_serves(cluster: &Cluster) {
    let (file, config) = (cluster.path("keys/node-2.json"), cluster.path("node-2.yaml"));
    let (file_text, config) = (file.to_str().unwrap(), config.to_str().unwrap());
    let old = wrapping(&file);
    let (done, said) = run(&["keys", "show", "--config", config]).await;
    assert!(
        done && said.contains(&format!("key-encryption key {old}: wraps data key 1, the key for names")),
        "{said}"
    );
    assert!(said.contains(": wraps generation 1"), "a generation has a key of its own: {said}");
    let remove = ["keys", "remove", "--file", file_text, "--key", &old, "--config", config];
    let (done, said) = run(&remove).await;
    assert!(!done && said.contains("KEY_IN_USE"), "it wraps: {said}");
    let (done, said) = run(&["keys", "add", "--file", file_text]).await;
    assert!(done, "{said}");
    let (done, said) = run(&remove).await;
    assert!(!done && said.contains("KEY_IN_USE") && said.contains("data key 1"), "{said}");
    let (done, said) = run(&["keys", "rewrap", "--config", config]).await;
    assert!(done, "{said}");
    let (done, said) = run(&remove).await;
    assert!(done, "{said}");
    let (done, said) = run(&["keys", "show", "--config", config]).await;
    assert!(done && !said.contains(&old) && said.contains(&wrapping(&file)), "{said}");
}

/// Backups in an S3-compatible store, under AWS KMS: what node 4's configuration names.
async fn a_bucket_takes_backups_and_gives_them_back(cluster: &Cluster, moto: &Moto, keys: &[(&str, &str)]) {
    let endpoint = format!("http://127.0.0.1:{}", moto.port);
    let store = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", REGION)];
    let environment = [keys, &store].concat();
    let config = cluster.path("node-4.yaml");
    let at = "s3://backups/acme/daily";
    let create = ["backup", "create", "--to", at, "--keys", config.to_str().unwrap()];
    let key = cluster.root_key();
    let none = cluster.try_ctl_in(1, &key, &create, &environment).await.unwrap_err();
    assert!(none.contains("NoSuchBucket") || none.contains("no such bucket"), "{none}");
    let made = crate::http::send(hyper::Method::PUT, &format!("{endpoint}/backups"), &[], "").await.unwrap();
    assert_eq!(made.status, 200, "{}", made.text());
    let first = cluster.try_ctl_in(1, &key, &create, &environment).await.unwrap();
    let mut client = cluster.client(1, &cluster.key("developer")).await;
    client.call("demo__echo", json!({"text": "x"})).await;
    let second = cluster.try_ctl_in(1, &key, &create, &environment).await.unwrap();
    assert!(second["log_index"].as_u64() > first["log_index"].as_u64(), "{first} {second}");
    let (listed, said) =
        run_in(&["ctl", "--output", "json", "backup", "list", "--from", at], &environment).await;
    let all: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(listed && all.as_array().unwrap().len() == 2, "{said}");
    let verify = ["ctl", "backup", "verify", "--from", at];
    let (valid, said) = run_in(&verify, &environment).await;
    assert!(!valid && said.contains("--keys"), "{said}");
    let (valid, said) =
        run_in(&[&verify[..], &["--keys", config.to_str().unwrap()]].concat(), &environment).await;
    assert!(valid, "{said}");
    // By the keys of the new node's own configuration: the same KMS key.
    let text = std::fs::read_to_string(&config).unwrap();
    let fresh = cluster.path("fresh.yaml");
    std::fs::write(&fresh, text.replace("data-4", "fresh")).unwrap();
    let restore = ["restore", "--from", at, "--config", fresh.to_str().unwrap()];
    let (restored, said) = run_in(&restore, &environment).await;
    assert!(restored, "{said}");
    let folder = cluster.path("fresh");
    let doctor = ["doctor", folder.to_str().unwrap(), "--config", fresh.to_str().unwrap()];
    let (sound, said) = run_in(&doctor, &environment).await;
    assert!(sound, "{said}");
}

/// A node under AWS KMS: sealed until that answers, and then for good, as long as it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_keys_waits_sealed_and_one_that_has_them_needs_nobody() {
    let mut cluster = Cluster::start(92).await;
    let moto = Moto::start().await;
    let kms = Proxy::start(&moto).await;
    let arn = moto.key(REGION).await;
    prepare(&cluster, 4, "node-4", "pki", &token(&cluster).await).await;
    let config = cluster.path("node-4.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let place = format!("{{ key_id: '{arn}', region: {REGION}, endpoint: 'http://127.0.0.1:{}' }}", kms.port);
    let own = text.replace("keys: { file: keys/node-1.json }", &format!("keys: {{ aws_kms: {place} }}"));
    assert_ne!(own, text);
    std::fs::write(&config, own).unwrap();
    let environment = [("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "planted-aws-secret-9d")];
    let is_sealed = async |cluster: &Cluster, why: &str| {
        let answer = crate::http::get(&format!("{}/health", cluster.http_url(4)), None).await;
        answer.is_ok_and(|answer| {
            answer.status == 503 && answer.text().contains("sealed") && answer.text().contains(why)
        })
    };
    kms.set(Fault::Answers(400, "DisabledException"));
    cluster.spawn_in(4, &environment);
    eventually("node 4 says that it is sealed", async || is_sealed(&cluster, "DisabledException").await)
        .await;
    assert_eq!(cluster.get(4, "/health/live", None).await.status, 200);
    assert_eq!(cluster.get(4, "/health/ready", None).await.status, 503);
    assert!(!cluster.path("data-4/key-ring").exists(), "nothing is begun");
    kms.set(Fault::None);
    cluster.wait_ready(4).await;

    a_bucket_takes_backups_and_gives_them_back(&cluster, &moto, &environment).await;

    // The KMS goes, the node stays.
    kms.set(Fault::Drops);
    let asked = *kms.asked.lock().unwrap();
    let mut client = cluster.client(4, &cluster.key("developer")).await;
    for _ in 0..50 {
        assert!(client.call("demo__echo", json!({"text": "x"})).await.receipt().is_some());
    }
    assert_eq!(*kms.asked.lock().unwrap(), asked, "no call asks for keys");

    // It is gone still when the node starts again: the others go on.
    cluster.kill(4);
    cluster.spawn_in(4, &environment);
    eventually("node 4 is sealed again", async || is_sealed(&cluster, "cannot be reached").await).await;
    assert_eq!(cluster.get(4, "/health/live", None).await.status, 200);
    let mut other = cluster.client(1, &cluster.key("developer")).await;
    assert!(other.call("demo__echo", json!({"text": "x"})).await.receipt().is_some());
    kms.set(Fault::None);
    cluster.wait_ready(4).await;
    let log = cluster.log("node-4.log");
    assert!(log.contains("KEYS_UNAVAILABLE") && log.contains("KEYS_REFUSED"), "{log}");
    assert!(!log.contains("planted-aws-secret-9d"), "the log shows the credentials");
}
