//! Advice on real workloads: it is given, it is right, it is followed, and then there is none.

mod economy;
mod load;
mod orders;
mod surplus;
