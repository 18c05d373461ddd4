//! What the checksums alone cost, on one core: the limit of what a transfer can reach.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use md5::Md5;
use sha2::{Digest, Sha256};
use zoom_archiver::domain::checksum::crc64nvme;

/// A small file, and a part of a large one.
const LENGTHS: [usize; 2] = [20 * 1024, 8 * 1024 * 1024];

fn hashing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hashing");
    for length in LENGTHS {
        let bytes: Vec<u8> = (0..length).map(|index| ((index * 31) >> 3) as u8).collect();
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_with_input(BenchmarkId::new("sha256", length), &bytes, |bencher, bytes| {
            bencher.iter(|| Sha256::digest(bytes));
        });
        group.bench_with_input(BenchmarkId::new("crc64nvme", length), &bytes, |bencher, bytes| {
            bencher.iter(|| crc64nvme(bytes));
        });
        group.bench_with_input(BenchmarkId::new("md5", length), &bytes, |bencher, bytes| {
            bencher.iter(|| Md5::digest(bytes));
        });
    }
    group.finish();
}

criterion_group!(benches, hashing);
criterion_main!(benches);
