//! The same world for `cedar-policy`: a policy per role, inheritance as entity parents.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression,
};

use crate::{Measured, Question, World};

/// Policies evaluated in all: a question costs cedar about as much as it has policies.
const EVALUATIONS: usize = 4_000_000;

fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.parse::<EntityTypeName>().unwrap(), EntityId::new(id))
}

/// Time to parse policies and entities, and the answers' times.
pub fn measure(world: &World, roles: usize) -> (Duration, Measured) {
    let mut text = String::new();
    for (id, tools, pattern, _) in &world.roles {
        let tools: Vec<String> = tools.iter().map(|tool| format!("\"{tool}\"")).collect();
        writeln!(
            text,
            "permit(principal in Role::\"{id}\", action == Action::\"execute\", resource) \
             when {{ [{}].contains(resource.name) || resource.name like \"{pattern}\" }};",
            tools.join(", ")
        )
        .unwrap();
    }
    let questions = world.questions((EVALUATIONS / roles).clamp(400, 20_000));
    let start = Instant::now();
    let policies: PolicySet = text.parse().unwrap();
    let entities = Entities::from_entities(entities(world, &questions), None).unwrap();
    let build = start.elapsed();
    let authorizer = Authorizer::new();
    let action = uid("Action", "execute");
    // Requests are made outside the measured time.
    let requests: HashMap<(&str, &str), Request> = questions
        .iter()
        .map(|question| {
            let (principal, item) = (question.principal.as_str(), question.item.as_str());
            let (user, tool) = (uid("User", principal), uid("Tool", item));
            let request = Request::new(user, action.clone(), tool, Context::empty(), None).unwrap();
            ((principal, item), request)
        })
        .collect();
    let measured = Measured::of(&questions, |question| {
        let request = &requests[&(question.principal.as_str(), question.item.as_str())];
        authorizer.is_authorized(request, &policies, &entities).decision() == Decision::Allow
    });
    (build, measured)
}

fn entities(world: &World, questions: &[Question]) -> Vec<Entity> {
    let roles = world.roles.iter().map(|(id, _, _, parent)| {
        let parents: HashSet<EntityUid> = parent.iter().map(|parent| uid("Role", parent.as_str())).collect();
        Entity::new_no_attrs(uid("Role", id.as_str()), parents)
    });
    let users = world.principals.iter().map(|(id, held)| {
        let held: HashSet<EntityUid> = held.iter().map(|role| uid("Role", role.as_str())).collect();
        Entity::new_no_attrs(uid("User", id.as_str()), held)
    });
    let names: HashSet<&str> = questions.iter().map(|question| question.item.as_str()).collect();
    let tools = names.into_iter().map(|name| {
        let attributes =
            HashMap::from([("name".to_owned(), RestrictedExpression::new_string(name.to_owned()))]);
        Entity::new(uid("Tool", name), attributes, HashSet::new()).unwrap()
    });
    roles.chain(users).chain(tools).collect()
}
