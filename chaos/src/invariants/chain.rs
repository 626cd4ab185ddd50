//! P3: one chain. Every node holds the same events in the same order, and the chain verifies up to the state's head.
//!
//! Source: DESIGN, "The promises", P3, and "Audit".

use only1mcp_domain::audit::Verifier;

use super::Final;

pub fn check(end: &Final) -> Result<(), String> {
    let mut first = None;
    for (node, chain) in &end.chains {
        let mut verifier = Verifier::default();
        for event in chain {
            verifier.push(event).map_err(|fault| format!("node {node}: {fault}"))?;
        }
        let head = end.states.get(node).map(|state| state.chain);
        if head != Some(verifier.head()) {
            return Err(format!(
                "node {node}: its events end at {:?}, its state at {head:?}",
                verifier.head()
            ));
        }
        match first {
            None => first = Some((node, chain)),
            Some((_, first)) if first == chain => {}
            Some((other, first)) => {
                let at = first.iter().zip(chain).position(|(a, b)| a != b);
                return Err(format!("nodes {other} and {node} hold different chains, from {at:?} on"));
            }
        }
    }
    Ok(())
}
