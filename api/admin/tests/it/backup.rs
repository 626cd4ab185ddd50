//! Backups: for operators alone, told before the first byte leaves, in bounded pieces.

use only1mcp_domain::audit::decode;
use only1mcp_domain::row::Table;
use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::backups_client::BackupsClient;
use only1mcp_proto::image::ImageCheck;
use tonic::Code;

use crate::world::World;

#[tokio::test]
async fn an_image_holds_the_state_and_that_it_was_taken() {
    let world = World::new().await;
    let mut client = BackupsClient::new(world.api(Some(&world.root_key)));
    let mut parts = client.create_backup(pb::CreateBackupRequest::default()).await.unwrap().into_inner();
    let header = parts.message().await.unwrap().unwrap().header.unwrap();
    assert_eq!((header.epoch, header.node, header.cluster_id.len()), (1, 1, 32));
    let mut check = ImageCheck::new(Table::is_beside);
    while let Some(part) = parts.message().await.unwrap() {
        assert!(part.header.is_none());
        check.take(&part.frame).unwrap();
    }
    let image = check.finish().unwrap();
    assert_eq!(image.state, *world.memory.state());
    assert_eq!(image.state.last_applied, header.log_index);
    assert!(header.result.unwrap().log_index <= header.log_index);
    let events = world.memory.events();
    let noted = events.iter().filter_map(|event| decode(&event.bytes).ok());
    let noted: Vec<_> = noted.filter(|event| event.action == "backup.create").collect();
    assert_eq!(noted.len(), 1);
    assert_eq!(noted[0].actor.id, "root");
    assert!(image.state.chain == world.memory.state().chain, "its own event is in it");
}

#[tokio::test]
async fn a_segment_comes_in_chunks_from_where_it_is_asked_for_and_is_told() {
    let world = World::new().await;
    let mut client = BackupsClient::new(world.api(Some(&world.root_key)));
    let request = |offset| pb::ReadSegmentRequest { first: 1, address: vec![1; 32].into(), offset };
    for (offset, chunks) in [(0, vec![400, 400, 200]), (900, vec![100]), (1_000, vec![])] {
        let mut parts = client.read_segment(request(offset)).await.unwrap().into_inner();
        let mut found = Vec::new();
        while let Some(part) = parts.message().await.unwrap() {
            found.push(part.chunk.len());
        }
        assert_eq!(found, chunks, "from {offset}");
    }
    assert_eq!(world.memory.audit_reads.lock().unwrap().len(), 3);
    let other = pb::ReadSegmentRequest { first: 2, ..request(0) };
    let mut parts = client.read_segment(other).await.unwrap().into_inner();
    assert_eq!(parts.message().await.unwrap_err().code(), Code::InvalidArgument);
    world.memory.records_full.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(client.read_segment(request(0)).await.is_err(), "what cannot be recorded is not read");
}
