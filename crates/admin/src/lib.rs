//! The admin API: topics, records, groups and the node itself over HTTP, in JSON.
//!
//! [`shape`] is what is asked and answered, as types that server and command line share. [`route`] is the
//! table of what can be asked; the OpenAPI document ([`openapi`]) is made of both. [`mapping`] turns requests
//! into the broker's and replies into answers. What another node leads is done there (`errand`). [`gate`] says who may
//! ask, and why.
//!
//! It deliberately knows no socket and no HTTP library: heads and bodies come in as text and bytes, answers
//! go out so, through whoever drives [`api::Api`]. Start with [`route`].

pub mod answer;
pub mod api;
pub mod between;
pub mod body;
pub mod counted;
mod errand;
pub mod gate;
mod mapping;
pub mod openapi;
pub mod path;
mod query;
pub mod refusal;
mod route;
pub mod shape;
pub mod words;

pub use answer::Answer;
pub use api::{About, Api, Call, Head};
pub use counted::Asked;
pub use gate::{Claims, Gate};
