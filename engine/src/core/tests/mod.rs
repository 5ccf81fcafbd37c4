//! One core against a transport in memory: what clients see on their streams.

mod confirms;
mod confirms_between;
mod deliveries;
mod events;
mod far_replays;
mod frames;
mod groups;
mod lanes;
mod large;
mod look;
mod lookups;
mod pacing;
mod payload;
mod places;
mod prefilter;
mod proof;
mod queue_budget;
mod queues;
mod received;
mod receivers;
mod replays;
mod rights;
mod sessions;
mod siblings;
mod turns;
mod world;
