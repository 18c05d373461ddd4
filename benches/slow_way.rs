//! A long way to a server: the fault proxy of the tests as a program, for `benches/compare`.
//!
//! `slow_way HOST:PORT MILLISECONDS BYTES_PER_SECOND` prints its own address and carries every connection to
//! HOST:PORT, each way with half of that delay before a burst, and at most at that rate; until its input ends.

#[path = "../tests/it/support/fault_proxy.rs"]
#[expect(dead_code, reason = "the tests know more faults than a long way has")]
mod fault_proxy;

use std::error::Error;
use std::io::{self, Read, Write};
use std::time::Duration;

use fault_proxy::{Fault, FaultProxy};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [upstream, round_trip_ms, bytes_per_sec] = arguments.as_slice() else {
        return Err("usage: slow_way HOST:PORT MILLISECONDS BYTES_PER_SECOND".into());
    };
    let latency = Duration::from_millis(round_trip_ms.parse()?) / 2;
    let bytes_per_sec = Some(bytes_per_sec.parse()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let proxy = runtime.block_on(async {
        let proxy = FaultProxy::start(upstream).await?;
        proxy.set(Fault::Slow { latency, bytes_per_sec }).await;
        io::Result::Ok(proxy)
    })?;
    writeln!(io::stdout(), "{}", proxy.addr())?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
