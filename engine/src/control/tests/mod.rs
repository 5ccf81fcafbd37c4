//! Control among its like: scenarios on a small simulated cluster, and random histories that must
//! converge.

mod balance;
mod checks;
mod cluster;
mod interest;
mod links;
mod loss;
mod random;
mod router;
mod standing;
