//! Who is who and what is where on the server: roles, channels and names, as last heard.
//!
//! Kept in memory only, filled over REST at the start and by the gateway since. Policy's role names are mapped here, both ways.
//! Bounded: names of people beyond `PEOPLE_MAX` are forgotten, oldest id first.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{id_in, ours, snowflake};
use crate::domain::ids::{Person, Place, Role};
use crate::domain::message::TimeStyle;
use crate::domain::render::{Unresolved, Wording};

/// Names of people that are remembered.
const PEOPLE_MAX: usize = 2_000;
/// Channels and threads that are remembered.
const PLACES_MAX: usize = 2_000;

/// What is known of the server.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// Policy's names to the server's, where they differ.
    by_policy: BTreeMap<Role, String>,
    roles: BTreeMap<u64, String>,
    places: BTreeMap<u64, String>,
    people: BTreeMap<u64, String>,
}

impl Directory {
    /// An empty one; `by_policy` gives the server's name for each of policy's roles that is called otherwise there.
    pub fn new(by_policy: BTreeMap<Role, String>) -> Self {
        Self { by_policy, ..Self::default() }
    }

    /// The id of a role of policy's; a name may also be the id itself.
    pub fn role_id(&self, role: &Role) -> Option<u64> {
        let name = self.by_policy.get(role).map_or(role.as_str(), String::as_str).trim_start_matches('@');
        if let Some(id) = name.parse().ok().filter(|id| self.roles.contains_key(id)) {
            return Some(id);
        }
        let exact = self.roles.iter().find(|(_, one)| *one == name);
        exact.or_else(|| self.roles.iter().find(|(_, one)| one.eq_ignore_ascii_case(name))).map(|(id, _)| *id)
    }

    /// Roles held, by policy's names.
    pub fn roles_held(&self, ids: impl IntoIterator<Item = u64>) -> Vec<Role> {
        let mut held: Vec<Role> = ids.into_iter().flat_map(|id| self.names_in_policy(id)).collect();
        held.sort();
        held.dedup();
        held
    }

    /// A role's name in policy.
    pub fn role(&self, id: u64) -> Option<Role> {
        self.names_in_policy(id).into_iter().next()
    }

    /// Several of policy's roles may be one on the server; one that policy calls otherwise keeps its own name too only when no
    /// other role of policy's is meant by it.
    fn names_in_policy(&self, id: u64) -> Vec<Role> {
        let Some(name) = self.roles.get(&id) else { return Vec::new() };
        let mut names: Vec<Role> = self
            .by_policy
            .iter()
            .filter(|(_, theirs)| theirs.eq_ignore_ascii_case(name) || theirs.parse() == Ok(id))
            .map(|(role, _)| role.clone())
            .collect();
        if names.is_empty() {
            let role = Role::new(name.to_lowercase());
            if !self.by_policy.contains_key(&role) {
                names.push(role);
            }
        }
        names
    }

    /// A channel by name, with or without `#`, or by id.
    pub fn place_named(&self, name: &str) -> Option<u64> {
        let name = name.trim().trim_start_matches('#');
        if let Some(id) = snowflake(name) {
            return Some(id);
        }
        self.places.iter().find(|(_, one)| one.eq_ignore_ascii_case(name)).map(|(id, _)| *id)
    }

    /// How many roles and channels are known.
    pub fn known(&self) -> (usize, usize) {
        (self.roles.len(), self.places.len())
    }

    /// Takes the roles of `GET /guilds/{id}/roles` in place of those known.
    pub fn set_roles(&mut self, list: &Value) {
        self.roles = named(list);
    }

    /// Takes the channels of `GET /guilds/{id}/channels` in place of those known.
    pub fn set_places(&mut self, list: &Value) {
        self.places = named(list);
    }

    /// A role is there, or is called otherwise now.
    pub fn role_seen(&mut self, id: u64, name: &str) {
        self.roles.insert(id, name.to_owned());
    }

    /// A role is not there any more.
    pub fn role_gone(&mut self, id: u64) {
        self.roles.remove(&id);
    }

    /// A channel or thread is there, or is called otherwise now.
    pub fn place_seen(&mut self, id: u64, name: &str) {
        if self.places.len() >= PLACES_MAX && !self.places.contains_key(&id) {
            self.places.pop_last();
        }
        self.places.insert(id, name.to_owned());
    }

    /// A channel or thread is not there any more.
    pub fn place_gone(&mut self, id: u64) {
        self.places.remove(&id);
    }

    /// A person's name was seen.
    pub fn person_seen(&mut self, id: u64, name: &str) {
        if self.people.get(&id).is_some_and(|known| known == name) {
            return;
        }
        if self.people.len() >= PEOPLE_MAX && !self.people.contains_key(&id) {
            self.people.pop_first();
        }
        self.people.insert(id, name.to_owned());
    }
}

fn named(list: &Value) -> BTreeMap<u64, String> {
    let pair = |one: &Value| Some((id_in(one, "id")?, one.get("name")?.as_str()?.to_owned()));
    list.as_array().into_iter().flatten().filter_map(pair).collect()
}

impl Wording for Directory {
    fn person(&self, person: &Person) -> String {
        let name = snowflake(person.as_str()).and_then(|id| self.people.get(&id));
        name.map_or_else(|| Unresolved.person(person), |name| format!("@{name}"))
    }

    fn place(&self, place: &Place) -> String {
        let name = snowflake(place.as_str()).and_then(|id| self.places.get(&id));
        name.map_or_else(|| Unresolved.place(place), |name| format!("#{name}"))
    }

    fn time(&self, at: DateTime<Utc>, _style: TimeStyle) -> String {
        at.format("%-d %B %Y %H:%M UTC").to_string()
    }
}

/// The directory as its readers and its one writer, the gateway, share it. Never held over a wait.
#[derive(Debug, Clone, Default)]
pub struct SharedDirectory(Arc<RwLock<Directory>>);

impl SharedDirectory {
    /// Shares a directory.
    pub fn new(directory: Directory) -> Self {
        Self(Arc::new(RwLock::new(directory)))
    }

    /// Reads.
    pub fn read<T>(&self, with: impl FnOnce(&Directory) -> T) -> T {
        with(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes.
    pub fn change<T>(&self, with: impl FnOnce(&mut Directory) -> T) -> T {
        with(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A person of this chat.
pub(super) fn person(id: u64) -> Person {
    Person::new(ours(id))
}

/// A place of this chat.
pub(super) fn place(id: u64) -> Place {
    Place::new(ours(id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn directory() -> Directory {
        let mut directory = Directory::new([(Role::new("reliability"), "SRE".to_owned())].into());
        directory.set_roles(
            &json!([{"id": "5", "name": "SRE"}, {"id": "6", "name": "Engineer"}, {"id": "7", "name": "reliability"}]),
        );
        directory.set_places(&json!([{"id": "9", "name": "incidents"}]));
        directory
    }

    #[test]
    fn roles_are_known_by_policys_names() {
        let directory = directory();
        assert_eq!(directory.role_id(&Role::new("reliability")), Some(5));
        assert_eq!(directory.role_id(&Role::new("engineer")), Some(6));
        assert_eq!(directory.role_id(&Role::new("manager")), None);
        assert_eq!(directory.roles_held([5, 6, 99]), [Role::new("engineer"), Role::new("reliability")]);
        // A role that only happens to be called like policy's gives no right: policy means another one.
        assert_eq!(directory.roles_held([7]), []);
    }

    #[test]
    fn channels_are_found_by_name_or_id() {
        let directory = directory();
        for name in ["incidents", "#Incidents", "9"] {
            assert_eq!(directory.place_named(name), Some(9), "{name}");
        }
        assert_eq!(directory.place_named("nowhere"), None);
    }
}
