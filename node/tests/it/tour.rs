//! The README's walk comes out as told.

use crate::cluster::run;

#[tokio::test]
async fn every_step_of_the_tour_comes_out_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let (succeeded, said) = run(&["dev", "--tour", "--base-port", "20100", "--dir", dir]).await;
    assert!(succeeded, "{said}");
    assert!(said.contains("Every step came out as told."), "{said}");
}
