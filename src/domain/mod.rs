//! The ground floor: what is decided. No I/O, no clock, no async; `now` is an argument and every decision gives its reason.
//!
//! In reading order: what there is (ids, message, workspace, policy), what can happen (input), become true (fact) and be done
//! (effect), what the facts make (incident, state), how a decision is made (draft, verbs, due, services, jobs, press, bot), and
//! how it is said (text, view, timeline, render).

pub mod calendar;
pub mod ids;
pub mod message;
pub mod oncall;
pub mod policy;
pub mod schedule;
pub mod workspace;

pub mod alerts;
pub mod answer;
pub mod chart;
pub mod command_spec;
pub mod deploy;
pub mod effect;
pub mod fact;
pub mod few;
pub mod figures;
pub mod health;
pub mod hosting;
pub mod input;
pub mod logs;
pub mod metrics;
pub mod order;
pub mod pipeline;
pub mod promise;
pub mod releases;
pub mod rules;

pub mod incident;
pub mod state;

pub mod bot;
pub mod draft;
pub mod due;
pub mod escalate;
pub mod evidence;
pub mod jobs;
pub mod press;
pub mod refusal;
pub mod services;
pub mod sizing;
pub mod verbs;

pub mod render;
pub mod text;
pub mod timeline;
pub mod view;
