//! Those who look after the simulated cluster: nodes are replaced, added, promoted and removed, and leadership is handed
//! over, while faults strike.

use only1mcp_domain::ids::NodeId;
use tokio::time::sleep;

use crate::client::{Client, ask};
use crate::node::{Answer, Ask};
use crate::oracle::Life;
use crate::stage::locked;

impl Client {
    /// As an operator would: the lost node is removed, journal and all, and a new one is let in.
    pub async fn replace(mut self, gone: u64, new: u64) {
        self.insist(&Ask::Remove(gone), gone).await;
        locked(&self.stage.oracle).members.retain(|member| *member != gone);
        self.insist(&Ask::Admit(new), gone).await;
        let mut oracle = locked(&self.stage.oracle);
        oracle.members.push(new);
        oracle.replaced = true;
    }

    /// A learner joins, serves, and in most worlds becomes a voter; in some it is removed again, as it runs.
    pub async fn change(mut self, new: u64) {
        sleep(self.rng.ms(0, 2_000)).await;
        self.insist(&Ask::Admit(new), new).await;
        locked(&self.stage.oracle).members.push(new);
        sleep(self.rng.ms(500, 3_000)).await;
        if self.rng.percent(60) {
            self.insist(&Ask::Promote(new), new).await;
            sleep(self.rng.ms(100, 2_000)).await;
        }
        if self.rng.percent(50) {
            {
                let mut oracle = locked(&self.stage.oracle);
                oracle.leaving = Some(new);
                oracle.members.retain(|member| *member != new);
                // Nobody hears any more what it does until it learns of it.
                oracle.forgotten.push(Life { node: NodeId(new), number: u64::MAX });
            }
            self.insist(&Ask::Remove(new), new).await;
            locked(&self.stage.oracle).left = Some(new);
        }
        locked(&self.stage.oracle).changed = true;
    }

    /// To any voter; it may not work out, and nobody waits for it.
    pub async fn transfer(mut self) {
        while !self.is_over() && !locked(&self.stage.oracle).faults_over {
            sleep(self.rng.ms(500, 4_000)).await;
            let (node, to) = (self.node(), self.node());
            let answer = ask(node, &Ask::Transfer(to)).await;
            if answer == Some(Answer::Done) {
                locked(&self.stage.oracle).struck("leadership handed over");
            }
            self.told(node, &Ask::Transfer(to), answer);
        }
    }

    /// Asks one node after the other, but not `not`, until it is done.
    async fn insist(&mut self, step: &Ask, not: u64) {
        loop {
            sleep(self.rng.ms(20, 300)).await;
            let node = self.node();
            if node == not {
                continue;
            }
            let answer = ask(node, step).await;
            self.told(node, step, answer);
            if answer == Some(Answer::Done) {
                return;
            }
        }
    }

    fn told(&self, node: u64, step: &Ask, answer: Option<Answer>) {
        let text = answer.map_or("no answer".to_owned(), |answer| answer.to_string());
        self.stage.trace.line(&self.name, format_args!("n{node} {step}: {text}"));
    }
}
