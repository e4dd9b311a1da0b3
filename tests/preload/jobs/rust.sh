# SPDX-License-Identifier: MIT
# needs: rustc gcc
# A program of maps, vectors, strings, boxes and threads: compiled, run, and its panic.
home=$(getent passwd "$(id -u)" | cut -d: -f6)
[ ! -d "$home/.rustup" ] || export RUSTUP_HOME=$home/.rustup
rustc --version > version || exit 77
cat > job.rs <<'EOF'
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc;
use std::thread;
fn work(seed: u64) -> u64 {
    let mut map: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut other: HashMap<u64, Box<[u8]>> = HashMap::new();
    for i in 0..20_000u64 {
        map.entry((i * seed % 1009).to_string()).or_default().push(i);
        other.insert(i, vec![1u8; (i % 300) as usize].into_boxed_slice());
    }
    other.retain(|key, _| key % 3 == 0);
    map.iter().map(|(key, list)| list.iter().sum::<u64>() * key.len() as u64).sum::<u64>()
        + other.values().map(|block| block.len() as u64).sum::<u64>()
}
fn main() {
    let (sender, receiver) = mpsc::channel::<(u64, String)>();
    let threads: Vec<_> = (1..5u64).map(|n| {
        let sender = sender.clone();
        thread::spawn(move || {
            for i in 0..2000 { sender.send((n, "m".repeat(i % 100))).unwrap(); }
            work(n)
        })
    }).collect();
    drop(sender);
    println!("{}", receiver.iter().map(|(n, text)| n as usize + text.len()).sum::<usize>());
    println!("{:?}", threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>());
    let mut huge: Vec<u8> = Vec::new();
    println!("{}", huge.try_reserve(usize::MAX / 4).is_err());
    if std::env::args().count() > 1 { let list = vec![1]; println!("{}", list[std::env::args().count()]); }
}
EOF
rustc -C opt-level=1 job.rs
./job
{ ./job wrong 2>&1 || true; } | grep -o 'index out of bounds.*'
