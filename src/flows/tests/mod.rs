//! Both ends of a stream, alone and together.

mod channel;
mod messages;
mod pair;
mod replica;
mod sender;
mod support;
