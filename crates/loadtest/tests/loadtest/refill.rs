//! A pipeline that is refilled reply by reply goes on while a reply is missing; one that is sent whole waits for all
//! replies to the last one.

use std::time::Duration;

use loadtest::{
    drive::{drive, interrupt::Interrupt},
    load::Until,
};

use crate::scripted::{Act, Scripted};

/// Operations within half a second of a pipeline of 4 whose fourth request is never answered.
async fn operations(refill: bool) -> u64 {
    let scripted = Scripted::start(|number, _| if number == 3 { Act::Drop } else { Act::Answer }).await;
    let mut load = scripted.load();
    (load.connections, load.pipeline, load.refill) = (1, 4, refill);
    load.until = Until::Time(Duration::from_millis(500));
    drive(&load, &Interrupt::never(), |_| {}).await.unwrap().operations
}

#[tokio::test]
async fn a_pipeline_is_refilled_before_its_last_reply_is_there() {
    assert_eq!(operations(false).await, 3);
    assert!(operations(true).await > 30);
}
