//! The UDP port: datagrams are read in batches and packets sent in batches.
//!
//! In: packets written into a reused arena. Out: one `sendmmsg` per flush, in which the packets of one frame for one
//! peer are a single message that the kernel cuts (UDP segmentation offload): half the cost of a packet is then saved.
//! Where the kernel cannot, packets go one by one; so do those of a single message that it will not cut, as where the way
//! to the peer takes smaller packets only. A socket for both versions speaks to IPv4 by mapped addresses (RFC
//! 4291 section 2.5.5.2); outside of this file an IPv4 address is one. The standard library has no batch calls, hence
//! the unsafe code.
#![allow(unsafe_code)]

use crate::listen::canonical;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::LazyLock;
use std::time::Duration;

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub(crate) struct UdpSocket {
    socket: Socket,
    /// Addresses that it sends to are IPv6 ones, mapped or not.
    is_v6: bool,
}

/// Packets on their way out. Nothing in it is allocated anew once it has grown to the size of a busy turn.
pub(crate) struct SendBatch {
    arena: Vec<u8>,
    runs: Vec<Run>,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    addresses: Vec<SockAddr>,
    controls: Vec<Control>,
    /// Packets are joined.
    segmentation: bool,
    /// A message of several packets was taken.
    proved: bool,
    /// Such messages that were not taken because the device cannot, while none was.
    incapable: u32,
    call: SendCall,
}

/// `sendmmsg`; a test puts another kernel here.
type SendCall = unsafe fn(RawFd, *mut libc::mmsghdr, libc::c_uint) -> libc::c_int;

/// Neighbouring packets of one size for one address; the last may be shorter.
#[derive(Debug, Clone, Copy)]
struct Run {
    to: SocketAddr,
    start: usize,
    length: usize,
    segment: usize,
    packets: usize,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SendReport {
    pub(crate) packets: usize,
    /// Packets the system did not take.
    pub(crate) dropped: usize,
    /// Messages of several packets that it would not cut, and their packets went one by one.
    pub(crate) uncut: usize,
}

/// Datagrams read at once.
pub(crate) struct ReceiveBatch {
    buffers: Vec<[u8; DATAGRAM_MAX]>,
    received: Vec<(usize, Option<SocketAddr>)>,
}

/// Room for one `UDP_SEGMENT` control message, aligned as the kernel wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

const CONTROL_BYTES: usize = 24;
/// Longer than any packet of WebRTC, which keep below the usual 1 500 of a network.
const DATAGRAM_MAX: usize = 2_048;
const RECEIVE_AT_ONCE: usize = 64;
/// Limits of the kernel: segments of one message, bytes of one message, messages of one call.
const SEGMENTS_MAX: usize = 64;
const RUN_BYTES_MAX: usize = 62_000;
const MESSAGES_MAX: usize = 1_024;
/// After so many messages that the device did not cut, and none that it did, none is tried any more.
const INCAPABLE_MAX: u32 = 64;
/// A packet to ourselves is there at once.
const PROBE_MAX: Duration = Duration::from_millis(200);
/// A turn's worth; beyond it the batch is flushed in between.
const ARENA_BYTES: usize = 4 << 20;
/// A burst to some hundred viewers must fit.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;

impl UdpSocket {
    /// `shared`: other sockets of this process listen on the same port.
    pub(crate) fn bind(address: SocketAddr, shared: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        if shared {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        // The system may allow less; bursts are then lost sooner, and counted.
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        socket.bind(&address.into())?;
        Ok(Self { socket, is_v6: address.is_ipv6() })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an internet address"))
    }

    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

// SAFETY: the pointers in `headers`, `vectors` and `addresses` are written and used within one call of `flush` and mean
// nothing outside of it.
unsafe impl Send for SendBatch {}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new(kernel_cuts())
    }
}

impl SendBatch {
    fn new(segmentation: bool) -> Self {
        Self {
            arena: Vec::with_capacity(ARENA_BYTES),
            runs: Vec::with_capacity(MESSAGES_MAX),
            headers: Vec::with_capacity(MESSAGES_MAX),
            vectors: Vec::with_capacity(MESSAGES_MAX),
            addresses: Vec::with_capacity(MESSAGES_MAX),
            controls: Vec::with_capacity(MESSAGES_MAX),
            segmentation,
            proved: false,
            incapable: 0,
            call: send_messages,
        }
    }

    /// Where the next packet begins in the arena.
    pub(crate) fn begin(&self) -> usize {
        self.arena.len()
    }

    /// The packet is appended here, from [`Self::begin`] on.
    pub(crate) fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.arena
    }

    /// What was appended since `start` is a packet for `to`.
    pub(crate) fn commit(&mut self, start: usize, to: SocketAddr) {
        let length = self.arena.len() - start;
        if length == 0 {
            return;
        }
        if let Some(run) = self.runs.last_mut() {
            let joins = self.segmentation
                && run.to == to
                && run.start + run.length == start
                && run.length == run.packets * run.segment
                && length <= run.segment
                && run.packets < SEGMENTS_MAX
                && run.length + length <= RUN_BYTES_MAX;
            if joins {
                run.length += length;
                run.packets += 1;
                return;
            }
        }
        self.runs.push(Run { to, start, length, segment: length, packets: 1 });
    }

    /// Time to flush in between.
    pub(crate) fn is_full(&self) -> bool {
        self.arena.len() >= ARENA_BYTES - (256 << 10) || self.runs.len() >= MESSAGES_MAX
    }

    /// Sends everything. What the system does not take is dropped: old real-time data is worth nothing.
    pub(crate) fn flush(&mut self, socket: &UdpSocket) -> SendReport {
        let mut report = SendReport::default();
        if self.runs.is_empty() {
            return report;
        }
        let mut at = 0;
        let mut retried = false;
        self.prepare(socket.is_v6);
        while at < self.headers.len() {
            let count = (self.headers.len() - at).min(MESSAGES_MAX);
            // SAFETY: `headers[at..at + count]` were filled by `prepare`; what they point to (addresses, vectors, controls,
            // arena) is owned by self and not touched until the call returns.
            let sent = unsafe { (self.call)(socket.fd(), self.headers[at..].as_mut_ptr(), count as u32) };
            if sent > 0 {
                let sent = sent as usize;
                let packets = self.runs[at..at + sent].iter().map(|run| run.packets).sum::<usize>();
                report.packets += packets;
                self.proved |= packets > sent;
                at += sent;
                retried = false;
                continue;
            }
            let error = io::Error::last_os_error();
            // The device cannot (EIO), or a packet is longer than the way to this peer takes (EINVAL, of newer kernels
            // EMSGSIZE): alone it would be sent in fragments. What one peer's way is like says nothing about the others'.
            let refused = matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE));
            if refused && self.runs[at].packets > 1 {
                self.incapable += u32::from(error.raw_os_error() == Some(libc::EIO) && !self.proved);
                if self.incapable == INCAPABLE_MAX && std::mem::take(&mut self.segmentation) {
                    tracing::info!("no device here cuts UDP messages; packets are sent one by one");
                }
                self.send_singly(at, socket, &mut report);
                at += 1;
                continue;
            }
            if error.kind() == io::ErrorKind::WouldBlock && !retried {
                retried = true;
                wait_writable(socket);
                continue;
            }
            // This destination is out of reach, or the buffers stay full: its packets are lost, the others go on.
            report.dropped += self.runs[at].packets;
            at += 1;
        }
        self.arena.clear();
        self.runs.clear();
        report
    }

    /// Sends the packets of a run one by one, by the header that was made for all of them.
    fn send_singly(&mut self, at: usize, socket: &UdpSocket, report: &mut SendReport) {
        let Run { start, length, segment, .. } = self.runs[at];
        report.uncut += 1;
        self.headers[at].msg_hdr.msg_control = std::ptr::null_mut();
        self.headers[at].msg_hdr.msg_controllen = 0;
        for packet in self.arena[start..start + length].chunks(segment) {
            self.vectors[at] = libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
            // SAFETY: the header is as `prepare` made it, without its control message; its vector points to a part of the
            // arena, which is not touched until the call returns.
            let mut send = || unsafe { (self.call)(socket.fd(), &raw mut self.headers[at], 1) };
            let mut sent = send();
            if sent < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock {
                wait_writable(socket);
                sent = send();
            }
            *(if sent > 0 { &mut report.packets } else { &mut report.dropped }) += 1;
        }
    }

    /// Makes one message header per run.
    fn prepare(&mut self, mapped: bool) {
        let Self { arena, runs, headers, vectors, addresses, controls, .. } = self;
        headers.clear();
        vectors.clear();
        addresses.clear();
        controls.clear();
        addresses.extend(runs.iter().map(|run| SockAddr::from(if mapped { as_v6(run.to) } else { run.to })));
        vectors.extend(
            runs.iter().map(|run| libc::iovec {
                iov_base: arena[run.start..].as_ptr().cast_mut().cast(),
                iov_len: run.length,
            }),
        );
        controls.resize(runs.len(), Control([0; CONTROL_BYTES]));
        for (index, run) in runs.iter().enumerate() {
            // SAFETY: mmsghdr is a plain C struct for which all zeros is a valid, empty value.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = addresses[index].as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = addresses[index].len();
            header.msg_hdr.msg_iov = &raw mut vectors[index];
            header.msg_hdr.msg_iovlen = 1;
            if run.packets > 1 {
                header.msg_hdr.msg_control = controls[index].0.as_mut_ptr().cast();
                // SAFETY: the macros only compute sizes; `msg_control` points to CONTROL_BYTES aligned bytes, which is
                // CMSG_SPACE(2), so the first header and its two bytes of data lie within.
                unsafe {
                    header.msg_hdr.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
                    let control = libc::CMSG_FIRSTHDR(&raw const header.msg_hdr);
                    (*control).cmsg_level = libc::SOL_UDP;
                    (*control).cmsg_type = libc::UDP_SEGMENT;
                    (*control).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
                    libc::CMSG_DATA(control).cast::<u16>().write_unaligned(run.segment as u16);
                }
            }
            headers.push(header);
        }
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        let buffers = vec![[0; DATAGRAM_MAX]; RECEIVE_AT_ONCE];
        Self { buffers, received: Vec::with_capacity(RECEIVE_AT_ONCE) }
    }
}

impl ReceiveBatch {
    /// Reads what is there, at most 64 datagrams; `WouldBlock` when there is nothing.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.received.clear();
        // SAFETY: plain C structs for which all zeros is a valid, empty value.
        let (mut headers, mut vectors): ([libc::mmsghdr; RECEIVE_AT_ONCE], [libc::iovec; RECEIVE_AT_ONCE]) =
            unsafe { (zeroed(), zeroed()) };
        let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::zeroed() }; RECEIVE_AT_ONCE];
        for (index, buffer) in self.buffers.iter_mut().enumerate() {
            vectors[index] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: DATAGRAM_MAX };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = names[index].as_mut_ptr().cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
        }
        // SAFETY: every header points to a name, a vector and a buffer of its own, which all live until the call returns.
        let count = unsafe {
            let (count, flags) = (RECEIVE_AT_ONCE as u32, libc::MSG_DONTWAIT);
            libc::recvmmsg(socket.fd(), headers.as_mut_ptr(), count, flags as _, std::ptr::null_mut())
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        for (header, name) in headers.iter().zip(names).take(count as usize) {
            // SAFETY: the storage was zeroed and the kernel wrote `msg_namelen` bytes of an address into it.
            let address = unsafe {
                SockAddr::new(
                    std::mem::transmute::<libc::sockaddr_storage, SockAddrStorage>(name.assume_init()),
                    header.msg_hdr.msg_namelen,
                )
            };
            let whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            self.received.push((header.msg_len as usize, address.as_socket().filter(|_| whole).map(canonical)));
        }
        Ok(count as usize)
    }

    /// How many datagrams one read brings at most: fewer mean that the socket is empty.
    pub(crate) fn capacity(&self) -> usize {
        self.buffers.len()
    }

    /// What the last read brought. Datagrams longer than any of ours are left out.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let sized = self.buffers.iter().zip(&self.received);
        sized.filter_map(|(buffer, (length, from))| Some(((*from)?, &buffer[..*length])))
    }
}

fn as_v6(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(four) => (four.ip().to_ipv6_mapped(), four.port()).into(),
        SocketAddr::V6(_) => address,
    }
}

/// # Safety
/// As for `sendmmsg`: there are `count` headers, and what they point to lives until this returns.
unsafe fn send_messages(fd: RawFd, headers: *mut libc::mmsghdr, count: libc::c_uint) -> libc::c_int {
    // SAFETY: the caller's.
    unsafe { libc::sendmmsg(fd, headers, count, libc::MSG_DONTWAIT) }
}

/// Whether this kernel cuts messages, asked once: two packets to ourselves. One that knows nothing of it (before 4.18) would
/// send them as one.
fn kernel_cuts() -> bool {
    static CUTS: LazyLock<bool> = LazyLock::new(|| {
        let cuts = try_cutting().unwrap_or_else(|error| {
            tracing::debug!(%error, "whether this kernel cuts UDP messages shows when the first is sent");
            true
        });
        if !cuts {
            tracing::info!("this kernel does not cut UDP messages; packets are sent one by one");
        }
        cuts
    });
    *CUTS
}

fn try_cutting() -> io::Result<bool> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false)?;
    let (mut batch, to) = (SendBatch::new(true), socket.local_addr()?);
    for byte in 0..2 {
        let start = batch.begin();
        batch.arena().push(byte);
        batch.commit(start, to);
    }
    let report = batch.flush(&socket);
    wait_for(&socket, PollFlags::IN, PROBE_MAX);
    let mut received = ReceiveBatch::default();
    received.receive(&socket)?;
    Ok(report.uncut == 0 && received.datagrams().all(|(_, datagram)| datagram.len() == 1))
}

/// Waits at most a millisecond for room in the socket's buffer.
fn wait_writable(socket: &UdpSocket) {
    wait_for(socket, PollFlags::OUT, Duration::from_millis(1));
}

fn wait_for(socket: &UdpSocket, event: PollFlags, patience: Duration) {
    let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
    let _ = poll(&mut [PollFd::new(&socket.socket, event)], Some(&timeout));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::loopback_hosts;

    fn pair(address: &str) -> (UdpSocket, UdpSocket, SocketAddr) {
        let address: SocketAddr = address.parse().unwrap();
        let bind = || UdpSocket::bind(address, false).unwrap();
        let (here, there) = (bind(), bind());
        let to = there.local_addr().unwrap();
        (here, there, to)
    }

    fn queue(batch: &mut SendBatch, to: SocketAddr, packets: &[Vec<u8>]) {
        for packet in packets {
            let start = batch.begin();
            batch.arena().extend_from_slice(packet);
            batch.commit(start, to);
        }
    }

    fn read_all(socket: &UdpSocket) -> Vec<Vec<u8>> {
        let (mut batch, mut all) = (ReceiveBatch::default(), Vec::new());
        while let Ok(1..) = batch.receive(socket) {
            all.extend(batch.datagrams().map(|(_, datagram)| datagram.to_vec()));
        }
        all
    }

    #[test]
    fn packets_arrive_whole_and_in_order_with_and_without_segmentation() {
        for host in loopback_hosts() {
            let address = SocketAddr::new(host.parse().unwrap(), 0).to_string();
            for segmentation in [true, false] {
                let (here, there, to) = pair(&address);
                let mut packets: Vec<_> = (0..9_u8).map(|byte| vec![byte; 1_000]).collect();
                packets.push(vec![9; 300]);
                packets.extend((10..13_u8).map(|byte| vec![byte; 1_200]));
                let mut batch = SendBatch::new(segmentation);
                queue(&mut batch, to, &packets);
                assert_eq!(batch.runs.len(), if segmentation { 2 } else { 13 });
                assert_eq!(batch.flush(&here), SendReport { packets: 13, ..SendReport::default() });
                assert_eq!(read_all(&there), packets, "{address} {segmentation}");
                assert_eq!(batch.flush(&here), SendReport::default(), "nothing is sent twice");
            }
        }
    }

    #[test]
    fn one_unreachable_peer_does_not_cost_the_others_anything() {
        let (here, there, to) = pair("127.0.0.1:0");
        let mut batch = SendBatch::default();
        queue(&mut batch, "0.0.0.1:9".parse().unwrap(), &[vec![1; 100], vec![1; 100]]);
        queue(&mut batch, to, &[vec![2; 100]]);
        assert_eq!(batch.flush(&here), SendReport { packets: 1, dropped: 2, uncut: 1 });
        assert_eq!(read_all(&there), [vec![2; 100]]);
    }

    thread_local! {
        /// What the kernel says to messages of several packets for this port.
        static REFUSED: std::cell::Cell<(u16, i32)> = const { std::cell::Cell::new((0, 0)) };
    }

    unsafe fn refuse_to_cut(fd: RawFd, headers: *mut libc::mmsghdr, count: libc::c_uint) -> libc::c_int {
        let (port, error) = REFUSED.get();
        // SAFETY: as for `sendmmsg`; names are IPv4 addresses here.
        unsafe {
            let is_refused = |header: &libc::mmsghdr| {
                let to = header.msg_hdr.msg_name.cast::<libc::sockaddr_in>().read_unaligned();
                header.msg_hdr.msg_controllen > 0 && u16::from_be(to.sin_port) == port
            };
            match std::slice::from_raw_parts(headers, count as usize).iter().position(is_refused) {
                Some(0) => {
                    *libc::__errno_location() = error;
                    -1
                }
                first => send_messages(fd, headers, first.map_or(count, |at| at as u32)),
            }
        }
    }

    #[test]
    fn what_one_peers_way_does_not_take_in_one_is_sent_singly_and_the_others_notice_nothing() {
        for error in [libc::EINVAL, libc::EMSGSIZE, libc::EIO] {
            let ((here, narrow, to_narrow), (_, wide, to_wide)) = (pair("127.0.0.1:0"), pair("127.0.0.1:0"));
            let packets = |byte| vec![vec![byte; 900], vec![byte; 900], vec![byte; 30]];
            let mut batch = SendBatch { call: refuse_to_cut, ..SendBatch::new(true) };
            REFUSED.set((to_narrow.port(), error));
            for round in 0..100 {
                for (to, byte) in [(to_wide, 1), (to_narrow, 2), (to_wide, 3)] {
                    queue(&mut batch, to, &packets(byte));
                }
                assert_eq!(batch.runs.len(), 3, "{error} in round {round}");
                assert_eq!(batch.flush(&here), SendReport { packets: 9, dropped: 0, uncut: 1 });
                assert_eq!(read_all(&narrow), packets(2));
                assert_eq!(read_all(&wide), [packets(1), packets(3)].concat());
            }
        }
    }

    #[test]
    fn a_device_that_never_cuts_is_asked_no_more() {
        let (here, there, to) = pair("127.0.0.1:0");
        let mut batch = SendBatch { call: refuse_to_cut, ..SendBatch::new(true) };
        REFUSED.set((to.port(), libc::EIO));
        for round in 1..=100 {
            queue(&mut batch, to, &[vec![1; 900], vec![2; 900]]);
            let SendReport { packets, dropped, uncut } = batch.flush(&here);
            assert_eq!((packets, dropped, uncut), (2, 0, usize::from(round <= INCAPABLE_MAX)));
            assert_eq!(read_all(&there).len(), 2);
        }
    }

    #[test]
    fn a_socket_for_both_versions_speaks_ipv4() {
        let both = UdpSocket::bind("[::]:0".parse().unwrap(), false).unwrap();
        let four = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let mut batch = SendBatch::default();
        queue(&mut batch, four.local_addr().unwrap(), &[vec![7; 10]]);
        assert_eq!(batch.flush(&both).packets, 1);
        assert_eq!(read_all(&four), [vec![7; 10]]);
        let port = both.local_addr().unwrap().port();
        queue(&mut batch, SocketAddr::from(([127, 0, 0, 1], port)), &[vec![8; 10]]);
        batch.flush(&four);
        let mut received = ReceiveBatch::default();
        received.receive(&both).unwrap();
        let from: Vec<_> = received.datagrams().map(|(from, _)| from).collect();
        assert_eq!(from, [four.local_addr().unwrap()], "and sees IPv4 addresses");
    }

    #[test]
    fn an_address_is_what_it_was_sent_from_scope_and_all() {
        let from: SocketAddr = "[fe80::1%3]:4000".parse().unwrap();
        assert_eq!(canonical(from), from);
        let (mapped, plain): (SocketAddr, SocketAddr) =
            ("[::ffff:192.0.2.7]:4000".parse().unwrap(), "192.0.2.7:4000".parse().unwrap());
        assert_eq!((canonical(mapped), canonical(plain)), (plain, plain));
        assert_eq!((as_v6(plain), as_v6(from)), (mapped, from));
    }
}
