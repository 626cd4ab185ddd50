//! Who gets in.

use tokio::time::{Duration, Instant};

use super::*;

#[tokio::test]
async fn nodes_know_each_other_by_name_whatever_the_address() {
    let cluster = Cluster::new();
    let (one, two) = (keeper(&cluster.node("n1")), keeper(&cluster.node("n2")));
    let port = Port::of_node(&one).await;
    assert_eq!(port.greet(&connector(&two), &named("n1")).await.unwrap(), "node n2");
    assert_eq!(port.greet(&connector(&two), &Expect::AnyNode).await.unwrap(), "node n2");
    let refused = port.greet(&connector(&two), &named("n3")).await.unwrap_err();
    assert!(refused.contains("is not the node it should be"), "{refused}");
}

#[tokio::test]
async fn certificates_of_another_authority_are_worth_nothing_on_either_side() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let our_node = keeper(&ours.node("n1"));
    let port = Port::of_node(&our_node).await;
    // Their node does not trust us.
    let stranger = keeper(&theirs.node("n2"));
    port.greet(&connector(&stranger), &named("n1")).await.unwrap_err();
    // It pretends to, and we do not trust it.
    let pretender = TlsFiles { ca: ours.files("n1").ca, ..theirs.files("n2") };
    port.greet(&connector(&keeper(&pretender)), &named("n1")).await.unwrap_err();
    // And the other way round: a server of theirs that has the right name.
    theirs.node("n1");
    let fake = Port::of_node(&keeper(&theirs.files("n1"))).await;
    let refused = fake.greet(&connector(&our_node), &named("n1")).await.unwrap_err();
    assert!(refused.contains("is not the node it should be"), "{refused}");
}

#[tokio::test]
async fn an_administrator_is_no_node() {
    let cluster = Cluster::new();
    let (node, admin) = (keeper(&cluster.node("n1")), keeper(&cluster.admin("ana")));
    let port = Port::of_node(&node).await;
    // Its certificate is good, but the port admits nodes only.
    port.greet(&connector(&admin), &named("n1")).await.unwrap_err();
    // Nor can it serve: it is a client's certificate.
    let fake = Port::of_node(&admin).await;
    fake.greet(&connector(&node), &Expect::AnyNode).await.unwrap_err();
}

#[tokio::test]
async fn a_port_asks_for_certificates_as_it_was_told() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let files = cluster.node("n1");
    let admin = cluster.admin("ana");
    let stranger = other.admin("eve");
    let node = keeper(&files);
    let open = |clients| Port::open(&node, clients, anyone(), AcceptLimits::default());

    let optional = open(ClientCertificate::Optional).await;
    assert_eq!(optional.greet_client(&files, None).await.unwrap(), "anonymous");
    assert_eq!(optional.greet_client(&files, Some(&admin)).await.unwrap(), "administrator ana of system");
    optional.greet_client(&files, Some(&stranger)).await.unwrap_err();

    let required = open(ClientCertificate::Required).await;
    required.greet_client(&files, None).await.unwrap_err();
    assert_eq!(required.greet_client(&files, Some(&admin)).await.unwrap(), "administrator ana of system");

    let none = open(ClientCertificate::None).await;
    assert_eq!(none.greet_client(&files, Some(&admin)).await.unwrap(), "anonymous");
    let distrustful = TlsFiles { ca: stranger.ca, ..files };
    none.greet_client(&distrustful, None).await.unwrap_err();
}

#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_keeps_nobody_out_for_long() {
    let cluster = Cluster::new();
    let (one, two) = (keeper(&cluster.node("n1")), keeper(&cluster.node("n2")));
    let limits = AcceptLimits { handshake_ms_max: 300, handshakes_max: 1 };
    let port = Port::open(&one, ClientCertificate::Required, nodes_only(), limits).await;
    let _silent = TcpStream::connect(port.address).await.unwrap();
    let began = Instant::now();
    assert_eq!(port.greet(&connector(&two), &named("n1")).await.unwrap(), "node n2");
    assert!(began.elapsed() < Duration::from_millis(1_500), "took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_port_cannot_check_certificates_without_roots() {
    let cluster = Cluster::new();
    let files = TlsFiles { ca: None, ..cluster.node("n1") };
    let refused = ServerTls::new(keeper(&files), ClientCertificate::Optional, &[]).unwrap_err();
    assert!(matches!(refused, TlsError::NoRoots));
    ServerTls::new(keeper(&files), ClientCertificate::None, &[]).unwrap();
}
