//! What a changed file does, and what a bad one does not.

use std::fs;

use super::*;

#[tokio::test]
async fn a_new_certificate_serves_the_next_connection() {
    let cluster = Cluster::new();
    let (one, two) = (keeper(&cluster.node("n1")), keeper(&cluster.node("n2")));
    let port = Port::of_node(&one).await;
    assert!(!one.reload().await.unwrap(), "nothing changed");
    let before = one.certificate_der();
    cluster.node("n1");
    assert!(one.reload().await.unwrap());
    assert_ne!(one.certificate_der(), before);
    let stream = connector(&two).connect(&port.address.to_string(), &named("n1")).await.unwrap();
    let served = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    assert_eq!(served, one.certificate_der());
}

#[tokio::test(start_paused = true)]
async fn files_are_watched() {
    let cluster = Cluster::new();
    let one = keeper(&cluster.node("n1"));
    let before = one.certificate_der();
    let stop = CancellationToken::new();
    let watching = tokio::spawn(Arc::clone(&one).watch(stop.clone()));
    cluster.node("n1");
    // Reading the files happens on another thread, which paused time does not wait for.
    for _ in 0..200 {
        if one.certificate_der() != before {
            break;
        }
        tokio::time::sleep(tokio::time::Duration::from_millis(RELOAD_EVERY_MS)).await;
    }
    assert_ne!(one.certificate_der(), before);
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_one_in_use_and_is_reported_once() {
    let cluster = Cluster::new();
    let files = cluster.node("n1");
    let (one, two) = (keeper(&files), keeper(&cluster.node("n2")));
    let port = Port::of_node(&one).await;
    let good = fs::read(&files.certificate).unwrap();

    fs::write(&files.certificate, "-----BEGIN NONSENSE-----").unwrap();
    assert!(matches!(one.reload().await, Err(TlsError::BadFile { .. })));
    assert!(!one.reload().await.unwrap(), "an unchanged bad file is not news");
    assert_eq!(port.greet(&connector(&two), &named("n1")).await.unwrap(), "node n2");

    // Half of a replacement: the key of another certificate.
    fs::write(&files.certificate, &good).unwrap();
    fs::copy(cluster.files("n2").key, &files.key).unwrap();
    assert!(matches!(one.reload().await, Err(TlsError::KeyMismatch { .. })));
    assert_eq!(port.greet(&connector(&two), &named("n1")).await.unwrap(), "node n2");

    fs::write(files.ca.as_ref().unwrap(), "").unwrap();
    assert!(matches!(one.reload().await, Err(TlsError::KeyMismatch { .. } | TlsError::BadFile { .. })));
    fs::remove_file(&files.key).unwrap();
    assert!(matches!(one.reload().await, Err(TlsError::Read { .. })));
    assert_eq!(port.greet(&connector(&two), &named("n1")).await.unwrap(), "node n2");
}

#[tokio::test]
async fn a_file_that_is_no_pem_file_by_its_size_is_not_read() {
    let cluster = Cluster::new();
    let files = cluster.node("n1");
    fs::write(files.ca.as_ref().unwrap(), vec![b'\n'; (1 << 20) + 1]).unwrap();
    assert!(matches!(Keeper::load(files), Err(TlsError::BadFile { .. })));
}

/// The rotation as the operator does it, one file at a time: at every step both directions still connect.
#[tokio::test]
async fn the_authority_is_replaced_while_nodes_go_on_talking() {
    let cluster = Cluster::new();
    // Each node has its own copy of the bundle, as on machines of their own.
    let install = |name: &str| {
        let bundle = cluster.dir.path().join(format!("{name}-roots"));
        fs::copy(cluster.dir.path().join("ca.pem"), &bundle).unwrap();
        bundle
    };
    let files = |name: &str| TlsFiles { ca: Some(install(name)), ..cluster.node(name) };
    let (one, two) = (keeper(&files("n1")), keeper(&files("n2")));
    let (port_one, port_two) = (Port::of_node(&one).await, Port::of_node(&two).await);
    let both_ways = async || {
        assert_eq!(port_one.greet(&connector(&two), &named("n1")).await.unwrap(), "node n2");
        assert_eq!(port_two.greet(&connector(&one), &named("n2")).await.unwrap(), "node n1");
    };
    both_ways().await;
    cluster.folder().rotate_start(validity()).unwrap();
    for (name, node) in [("n1", &one), ("n2", &two)] {
        install(name);
        assert!(node.reload().await.unwrap());
        both_ways().await;
    }
    cluster.folder().rotate_switch().unwrap();
    let old = |file: &str| cluster.dir.path().join(file);
    fs::copy(cluster.files("n2").certificate, old("old.pem")).unwrap();
    fs::copy(cluster.files("n2").key, old("old-key.pem")).unwrap();
    for (name, node) in [("n1", &one), ("n2", &two)] {
        cluster.node(name);
        assert!(node.reload().await.unwrap());
        both_ways().await;
    }
    cluster.folder().rotate_finish(true).unwrap();
    for (name, node) in [("n1", &one), ("n2", &two)] {
        install(name);
        assert!(node.reload().await.unwrap());
        both_ways().await;
    }
    // The old root is worth nothing now: who held back one of its certificates is refused.
    let stale = TlsFiles { certificate: old("old.pem"), key: old("old-key.pem"), ca: Some(install("old")) };
    port_one.greet(&connector(&keeper(&stale)), &named("n1")).await.unwrap_err();
}
