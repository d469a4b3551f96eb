//! The local Fly's acting side, call by call and from the documents' point of view: what a deploy, a rollback or a person
//! at a terminal sends, and what comes of it on machines that are real servers.

mod client;
mod documents;
mod faults;
mod images;
mod leases;
mod machines;
mod releases;
