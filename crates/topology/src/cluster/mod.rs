//! A cluster: which node has which slot. What nodes say (`CLUSTER SLOTS`, `CLUSTER NODES`, and the words with which they
//! send a request elsewhere), and what is believed of it.

pub(crate) mod answer;
pub(crate) mod belief;
pub(crate) mod layout;
pub(crate) mod redirection;
