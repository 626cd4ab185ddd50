//! A person is erased on real nodes: hidden at once, the chain as before; unrecoverable once no node has the generation;
//! and not in a new cluster made of an older backup either.

use serde_json::Value;

use crate::cluster::{Cluster, eventually, run};

const NAME: &str = "Wilhelmina Erasable";
const MAIL: &str = "wilhelmina.erasable@example.com";

async fn person(cluster: &Cluster, id: &str, name: &str, mail: &str) -> String {
    let create = ["principal", "create", id, "--display-name", name, "--email", mail, "--tenant", "acme"];
    cluster.ctl(1, &create).await;
    let grant = ["grant", "create", "--principal", id, "--role", "developer", "--tenant", "acme", "--wait"];
    cluster.ctl(1, &grant).await;
    let made = cluster.ctl(1, &["key", "create", "--principal", id, "--tenant", "acme"]).await;
    made["key"].as_str().or(made["secret"].as_str()).unwrap_or_else(|| panic!("{made}")).to_owned()
}

async fn call(cluster: &Cluster, number: usize, key: &str) {
    let mut client = cluster.client(number, key).await;
    let answer = client.call("demo__echo", serde_json::json!({"text": "x"})).await;
    assert!(answer.receipt().is_some(), "{answer:?}");
}

/// What is read of the sealed parts of all events of a person.
async fn parts(cluster: &Cluster, number: usize, id: &str) -> Vec<Value> {
    let events = cluster.ctl(number, &["audit", "query", "--principal", id, "--tenant", "acme"]).await;
    let events = events.as_array().unwrap();
    assert!(!events.is_empty());
    events.iter().flat_map(|event| event["personal"].as_array().cloned().unwrap_or_default()).collect()
}

async fn subject(cluster: &Cluster, number: usize, id: &str) -> Value {
    cluster.ctl(number, &["subject", "show", id, "--tenant", "acme"]).await
}

async fn export(cluster: &Cluster, number: usize) -> String {
    let path = cluster.path("export.jsonl");
    let file = path.to_str().unwrap();
    cluster.ctl(number, &["audit", "export", "--all-tenants", "--file", file]).await;
    let (valid, said) = run(&["audit", "verify", "--file", file]).await;
    assert!(valid, "{said}");
    std::fs::read_to_string(path).unwrap()
}

async fn key_table(cluster: &Cluster, name: &str) -> String {
    let path = cluster.path(name).to_str().unwrap().to_owned();
    let public = cluster.path("recovery.pub");
    cluster.ctl(1, &["backup", "keys", "--to", &path, "--recovery", public.to_str().unwrap()]).await;
    path
}

fn all(parts: &[Value], status: &str) -> bool {
    !parts.is_empty() && parts.iter().all(|part| part["status"] == status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_is_gone_from_trail_and_backups_and_the_chain_stands() {
    let mut cluster = Cluster::start(115).await;
    let ann = person(&cluster, "ann", NAME, MAIL).await;
    let bob = person(&cluster, "bob", "Robert Staying", "robert.staying@example.com").await;
    for number in 1..=3 {
        call(&cluster, number, &ann).await;
        call(&cluster, number, &bob).await;
    }
    let shown = cluster.ctl(2, &["principal", "show", "ann", "--tenant", "acme"]).await;
    assert_eq!(
        (shown["display_name"].as_str(), shown["email"].as_str()),
        (Some(NAME), Some(MAIL)),
        "{shown}"
    );
    for number in 1..=3 {
        let read = parts(&cluster, number, "ann").await;
        assert!(all(&read, "open") && read.iter().any(|part| part["ip_address"] == "127.0.0.1"), "{read:?}");
    }
    let told = export(&cluster, 1).await;
    assert!(told.contains(MAIL), "told beside the bytes");
    assert!(!told.lines().any(|line| line.split("\"personal\"").next().unwrap().contains(MAIL)));
    let file = cluster.path("ann.json");
    let file = file.to_str().unwrap();
    cluster.ctl(1, &["subject", "export", "ann", "--tenant", "acme", "--file", file]).await;
    let own = std::fs::read_to_string(file).unwrap();
    assert!(own.contains(MAIL) && own.contains("tools/call") && !own.contains("Robert"));

    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let config = cluster.path("node-1.yaml");
    cluster.ctl(1, &["backup", "create", "--to", at, "--keys", config.to_str().unwrap()]).await;
    let (private, public) = (cluster.path("recovery.key"), cluster.path("recovery.pub"));
    let pair = ["--private", private.to_str().unwrap(), "--public", public.to_str().unwrap()];
    let (made, said) = run(&[&["keys", "recovery-init"], &pair[..]].concat()).await;
    assert!(made, "{said}");

    let hold = ["subject", "hold", "ann", "--tenant", "acme", "--reason", "case 7"];
    cluster.ctl(1, &hold).await;
    let erase = ["subject", "erase", "ann", "--tenant", "acme", "--wait"];
    let refused = cluster.try_ctl(1, &cluster.root_key(), &erase).await.unwrap_err();
    assert!(refused.contains("case 7"), "{refused}");
    cluster.ctl(1, &["subject", "release", "ann", "--tenant", "acme"]).await;
    cluster.ctl(1, &erase).await;
    for number in 1..=3 {
        let read = parts(&cluster, number, "ann").await;
        assert!(all(&read, "erased") && !format!("{read:?}").contains("127.0.0.1"), "{read:?}");
        assert!(all(&parts(&cluster, number, "bob").await, "open"));
        assert_eq!(subject(&cluster, number, "ann").await["status"], "erased");
    }
    let told = export(&cluster, 2).await;
    assert!(!told.contains(MAIL) && !told.contains(NAME));
    assert_eq!(subject(&cluster, 1, "ann").await["unrecoverable_since"], Value::Null);

    cluster.ctl(1, &["erasure", "renew"]).await;
    eventually("every node destroys the old generation", async || {
        subject(&cluster, 1, "ann").await["unrecoverable_since"].is_string()
    })
    .await;
    let status = cluster.ctl(1, &["erasure", "status"]).await;
    let held = status["held"].as_array().unwrap();
    assert_eq!((status["generation"].as_u64(), held.len()), (Some(2), 3), "{status}");
    assert!(held.iter().all(|held| held["oldest"] == 2), "{status}");
    for number in 1..=3 {
        let ring = std::fs::read_to_string(cluster.path(&format!("node-{number}/key-ring"))).unwrap();
        assert_eq!(ring.matches("\"generation\": ").count(), 1, "the old one is gone from node {number}");
        let keys = std::fs::read_to_string(cluster.path(&format!("keys/node-{number}.json"))).unwrap();
        assert_eq!(keys.matches("\"own-").count(), 1, "and what wrapped it from its key file");
    }
    // Nodes that start again read what they read before.
    cluster.kill(2);
    cluster.restart(2).await;
    assert!(all(&parts(&cluster, 2, "bob").await, "open"));
    let table = key_table(&cluster, "keys.json").await;

    for number in 1..=3 {
        cluster.kill(number);
        std::fs::remove_dir_all(cluster.path(&format!("node-{number}"))).unwrap();
    }
    cluster.restart_demo().await;
    let args = ["restore", "--from", at, "--config", config.to_str().unwrap()];
    let with_keys = ["--key-table", &table, "--recovery-private", private.to_str().unwrap()];
    let (restored, said) = run(&[&args[..], &with_keys[..]].concat()).await;
    assert!(restored, "{said}");
    cluster.restart(1).await;
    assert!(all(&parts(&cluster, 1, "bob").await, "open"), "the table has bob's key");
    let read = parts(&cluster, 1, "ann").await;
    assert!(all(&read, "erased"), "the backup is older than the erasure: {read:?}");
    assert_eq!(subject(&cluster, 1, "ann").await["status"], "erased");
    let told = export(&cluster, 1).await;
    assert!(told.contains("robert.staying") && !told.contains(MAIL) && !told.contains(NAME));
    let gone =
        cluster.try_ctl(1, &cluster.root_key(), &["principal", "show", "ann", "--tenant", "acme"]).await;
    assert!(gone.is_err(), "nor does she come back as a principal");
}
