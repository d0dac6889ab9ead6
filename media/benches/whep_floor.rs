//! The floor under WHEP egress: what this machine asks for sealing packets and handing them to the kernel, with no server
//! around it. `benches/whep/run` sets it beside `chobi serve` in one run.
//!
//! One thread copies a shared payload behind a header per viewer, seals it with AES-128-GCM in place (RFC 7714) and sends
//! each turn by `sendmmsg`, the packets of one viewer as one message that the kernel cuts (UDP GSO). A second thread reads
//! every viewer's socket as `chobi bench whep` does and counts. CPU is the sender's thread alone.
//!
//! A good server stays within 1.25 times this. Written apart from `rtc/socket.rs`, whose cost is part of what is judged.
//!
//! Usage: whep_floor [--viewers 200] [--video 250] [--burst 8] [--audio 0] [--seconds 10]
//! (packets per second and viewer; packets per frame)
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used)]

use libc::{c_int, iovec, mmsghdr, msghdr, sockaddr_in, timespec};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is sent to each viewer.
#[derive(Debug, Clone, Copy)]
struct Shape {
    viewers: usize,
    /// Packets of video per second.
    video: u64,
    /// Packets of one frame.
    burst: usize,
    /// Packets of sound per second.
    audio: u64,
    seconds: u64,
}

/// On the wire with header and tag.
const VIDEO_BYTES: usize = 1_200;
/// Opus at 96 kbit/s in 20 ms.
const AUDIO_BYTES: usize = 12 + 240 + TAG;
const HEADER: usize = 12;
const TAG: usize = 16;
/// The kernel's limit of one call.
const MESSAGES_MAX: usize = 1_024;
const SOCKET_BUFFER: c_int = 8 << 20;

fn main() {
    let shape = Shape::from_arguments();
    let sinks: Vec<UdpSocket> = (0..shape.viewers).map(|_| bind()).collect();
    let to: Vec<SocketAddr> = sinks.iter().map(|sink| sink.local_addr().unwrap()).collect();
    let (received, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let reader = {
        let (received, over) = (Arc::clone(&received), Arc::clone(&over));
        std::thread::spawn(move || read(&sinks, &received, &over))
    };
    pin(0);
    let sent = send(shape, &to);
    // Loopback has delivered when the call returns; the reader needs a moment.
    std::thread::sleep(Duration::from_millis(300));
    over.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    let (cpu, wall) = (sent.cpu.as_secs_f64(), sent.wall.as_secs_f64());
    let micros = cpu * 1e6 / sent.packets as f64;
    let received = received.load(Ordering::Relaxed);
    println!(
        "{{\"viewers\":{},\"packets\":{},\"packetsPerSecond\":{:.0},\"lost\":{},\"cpuPercent\":{:.2},\"cpuMicrosPerPacket\":{micros:.3}}}",
        shape.viewers,
        sent.packets,
        sent.packets as f64 / wall,
        sent.packets - received.min(sent.packets),
        100.0 * cpu / wall,
    );
}

impl Shape {
    fn from_arguments() -> Self {
        let mut shape = Self { viewers: 200, video: 250, burst: 8, audio: 0, seconds: 10 };
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let number = || format!("{name} wants a number above 0");
            let value: u64 =
                arguments.next().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{}", number()));
            match name.as_str() {
                "--viewers" => shape.viewers = value as usize,
                "--video" => shape.video = value,
                "--burst" => shape.burst = value as usize,
                "--audio" => shape.audio = value,
                "--seconds" => shape.seconds = value,
                _ => panic!("{name} is not known: --viewers --video --burst --audio --seconds"),
            }
        }
        assert!((1..=10_000).contains(&shape.viewers) && (1..=64).contains(&shape.burst) && shape.video > 0);
        shape
    }
}

struct Sent {
    packets: u64,
    cpu: Duration,
    wall: Duration,
}

/// One viewer at the sender.
struct Viewer {
    address: sockaddr_in,
    key: LessSafeKey,
    index: u64,
}

fn send(shape: Shape, to: &[SocketAddr]) -> Sent {
    let socket = bind();
    let mut viewers: Vec<Viewer> = to.iter().map(|to| Viewer::new(*to)).collect();
    let video = vec![0x5a; VIDEO_BYTES - HEADER - TAG];
    let audio = vec![0xa5; AUDIO_BYTES - HEADER - TAG];
    let frame_every = Duration::from_secs_f64(shape.burst as f64 / shape.video as f64);
    let sound_every = (shape.audio > 0).then(|| Duration::from_secs_f64(1.0 / shape.audio as f64));
    let mut batch = Batch::default();
    let (began, cpu_before) = (Instant::now(), thread_cpu());
    let end = began + Duration::from_secs(shape.seconds);
    let (mut next_frame, mut next_sound) = (began, sound_every.map(|every| began + every / 2));
    let mut packets = 0;
    loop {
        let next = next_sound.map_or(next_frame, |sound| sound.min(next_frame));
        if next >= end {
            break;
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let (payload, count) = if next == next_frame { (&video, shape.burst) } else { (&audio, 1) };
        for viewer in &mut viewers {
            viewer.seal(&mut batch, payload, count);
        }
        packets += batch.flush(&socket);
        if next == next_frame {
            next_frame += frame_every;
        } else {
            next_sound = next_sound.zip(sound_every).map(|(sound, every)| sound + every);
        }
    }
    Sent { packets, cpu: thread_cpu() - cpu_before, wall: began.elapsed() }
}

impl Viewer {
    fn new(to: SocketAddr) -> Self {
        let SocketAddr::V4(to) = to else { panic!("loopback is IPv4 here") };
        // SAFETY: a plain C struct for which all zeros is a valid value.
        let mut address: sockaddr_in = unsafe { zeroed() };
        address.sin_family = libc::AF_INET as _;
        address.sin_port = to.port().to_be();
        address.sin_addr.s_addr = u32::from(*to.ip()).to_be();
        let mut secret = [7; 16];
        secret[..2].copy_from_slice(&to.port().to_be_bytes());
        Self { address, key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &secret).unwrap()), index: 0 }
    }

    /// Appends `count` sealed packets as one message.
    fn seal(&mut self, batch: &mut Batch, payload: &[u8], count: usize) {
        let start = batch.arena.len();
        for _ in 0..count {
            let packet = batch.arena.len();
            let mut header = [0_u8; HEADER];
            (header[0], header[1]) = (0x80, 96);
            header[2..4].copy_from_slice(&(self.index as u16).to_be_bytes());
            header[8..12].copy_from_slice(&7_u32.to_be_bytes());
            batch.arena.extend_from_slice(&header);
            batch.arena.extend_from_slice(payload);
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&self.index.to_be_bytes());
            let (head, body) = batch.arena[packet..].split_at_mut(HEADER);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(&*head), body).unwrap();
            batch.arena.extend_from_slice(tag.as_ref());
            self.index += 1;
        }
        batch.runs.push(Run { start, packets: count, segment: HEADER + payload.len() + TAG, to: self.address });
    }
}

#[derive(Default)]
struct Batch {
    arena: Vec<u8>,
    runs: Vec<Run>,
    headers: Vec<mmsghdr>,
    vectors: Vec<iovec>,
    controls: Vec<Control>,
}

struct Run {
    start: usize,
    packets: usize,
    segment: usize,
    to: sockaddr_in,
}

/// Room for one `UDP_SEGMENT`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 24]);

impl Batch {
    /// Sends all; how many packets.
    fn flush(&mut self, socket: &UdpSocket) -> u64 {
        let Self { arena, runs, headers, vectors, controls } = self;
        headers.clear();
        vectors.clear();
        vectors.extend(runs.iter().map(|run| iovec {
            iov_base: arena[run.start..].as_ptr().cast_mut().cast(),
            iov_len: run.packets * run.segment,
        }));
        controls.resize(runs.len(), Control([0; 24]));
        for (index, run) in runs.iter().enumerate() {
            // SAFETY: a plain C struct for which all zeros is a valid, empty value.
            let mut header: msghdr = unsafe { zeroed() };
            header.msg_name = (&raw const run.to).cast_mut().cast();
            header.msg_namelen = size_of::<sockaddr_in>() as _;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
            if run.packets > 1 {
                header.msg_control = controls[index].0.as_mut_ptr().cast();
                // SAFETY: the control has CMSG_SPACE(2) = 24 aligned bytes, so the header and its value lie within.
                unsafe {
                    header.msg_controllen = libc::CMSG_SPACE(2) as _;
                    let control = libc::CMSG_FIRSTHDR(&raw const header);
                    (*control).cmsg_level = libc::SOL_UDP;
                    (*control).cmsg_type = libc::UDP_SEGMENT;
                    (*control).cmsg_len = libc::CMSG_LEN(2) as _;
                    libc::CMSG_DATA(control).cast::<u16>().write_unaligned(run.segment as u16);
                }
            }
            headers.push(mmsghdr { msg_hdr: header, msg_len: 0 });
        }
        let mut at = 0;
        while at < headers.len() {
            let count = (headers.len() - at).min(MESSAGES_MAX);
            // SAFETY: what the headers point to (addresses in `runs`, vectors, controls, arena) lives until the call returns.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers[at..].as_mut_ptr(), count as u32, 0) };
            assert!(sent > 0, "sendmmsg: {}", std::io::Error::last_os_error());
            at += sent as usize;
        }
        let packets = runs.iter().map(|run| run.packets as u64).sum();
        runs.clear();
        arena.clear();
        packets
    }
}

/// Reads every sink until it is over.
fn read(sinks: &[UdpSocket], received: &AtomicU64, over: &AtomicBool) {
    const AT_ONCE: usize = 64;
    pin(1);
    let mut buffers = vec![[0_u8; 2_048]; AT_ONCE];
    // SAFETY: no pointers are passed; the descriptor is closed with the process.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    for (index, sink) in sinks.iter().enumerate() {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
        // SAFETY: the event lives until the call returns, the sockets until the end of this function.
        let added = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, sink.as_raw_fd(), &raw mut event) };
        assert_eq!(added, 0);
    }
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 256];
    while !over.load(Ordering::Relaxed) {
        // SAFETY: room for 256 events, as the call is told.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 256, 5) };
        for event in events.iter().take(ready.max(0) as usize) {
            let sink = &sinks[event.u64 as usize];
            loop {
                // SAFETY: plain C structs for which all zeros is a valid, empty value.
                let (mut headers, mut vectors): ([mmsghdr; AT_ONCE], [iovec; AT_ONCE]) =
                    unsafe { (zeroed(), zeroed()) };
                for (index, buffer) in buffers.iter_mut().enumerate() {
                    vectors[index] = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
                    headers[index].msg_hdr.msg_iov = &raw mut vectors[index];
                    headers[index].msg_hdr.msg_iovlen = 1;
                }
                let (count, flags) = (AT_ONCE as u32, libc::MSG_DONTWAIT);
                // SAFETY: every header points to a vector and a buffer of its own, which live until the call returns.
                let read = unsafe {
                    libc::recvmmsg(sink.as_raw_fd(), headers.as_mut_ptr(), count, flags as _, std::ptr::null_mut())
                };
                received.fetch_add(read.max(0) as u64, Ordering::Relaxed);
                if read < AT_ONCE as i32 {
                    break;
                }
            }
        }
    }
}

fn bind() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let value = SOCKET_BUFFER;
    for option in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
        // SAFETY: the value is a c_int of the size that is told. The system may allow less; losses are counted.
        unsafe {
            let (value, length) = ((&raw const value).cast(), size_of::<c_int>() as u32);
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length);
        }
    }
    socket
}

/// Sender and reader each on a core of their own, where there are two.
fn pin(core: usize) {
    // SAFETY: a plain C struct; the set lives until the call returns.
    unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// User and system time of this thread.
fn thread_cpu() -> Duration {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct lives until the call returns.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
