// The network between the agent and the broker model: one link at a time, as `Host` promises it.

import Bytes
import HostInterface

/// One attempt to connect, and the connection that may come of it.
final class SimulatedLink {
  let number: Int
  var state = LinkState.opening
  /// Why transfers end, once they do.
  var death: LinkFailure?
  /// Whether bytes still arrive, either way.
  var carriesUp = true
  var carriesDown = true

  /// Bytes that the client's system holds.
  var heldUp = 0
  var room = 0
  var lastUpArrival: Instant

  /// What has arrived at the client and is not read yet.
  var inbox: [UInt8] = []
  var inboxHead = 0
  var peerHasClosed = false
  var lastDownArrival: Instant
  /// How many bytes it still carries, both ways together.
  var bytesLeft = Int.max

  /// Whether the client's last transfer would have blocked: only then does a host wake the loop.
  var wantsInput = false
  var wantsOutput = false
  /// What was offered to the send that would have blocked; TLS needs the same again.
  var blockedOffer: [UInt8] = []
  /// When the client must have closed it, and why.
  var mustClose: (by: Instant, why: String)?

  init(number: Int, now: Instant) {
    self.number = number
    lastUpArrival = now
    lastDownArrival = now
  }

  var unread: Int { inbox.count - inboxHead }
}

/// The side of the network that the broker sees.
protocol NetworkUser: AnyObject {
  func accept(_ link: SimulatedLink)
  func receive(_ bytes: ArraySlice<UInt8>, from link: SimulatedLink)
  func end(of link: SimulatedLink)
}

/// Opens, delays, cuts and swallows.
final class Network {
  private let world: World
  private var dice: Dice
  var weather: Weather {
    didSet {
      guard let link, case .open = link.state else { return }
      link.room = max(link.room, weather.sendRoom.lowerBound)
      planCut(link)
    }
  }
  weak var user: NetworkUser?
  private(set) var link: SimulatedLink?
  private(set) var linkCount = 0
  /// How often the client sent something.
  private(set) var sendCount = 0
  /// What `describeLink` says.
  private(set) var lastFailure: LinkFailure?

  init(world: World, weather: Weather) {
    self.world = world
    self.weather = weather
    dice = Dice(seed: world.seed, colour: 1)
  }

  // MARK: The client's side

  func open(deadline: Instant, isExpired: Bool = false) {
    if link != nil { world.violate("host: a link is opened before the last one is closed") }
    if deadline <= world.now || deadline > world.now + .minutes(10) {
      world.violate("host: deadline of openLink is \((deadline - world.now).milliseconds) ms away")
    }
    linkCount += 1
    let link = SimulatedLink(number: linkCount, now: world.now)
    self.link = link
    let outcome = dice.pick(weather.openOutcomes)
    var delay = dice.spanOfAnyMagnitude(0...3000)
    var failure: LinkFailure?
    switch outcome {
    case .success: if isExpired { failure = .tlsExpired }
    case .failure(let reason): failure = reason
    case .silence(let reason):
      failure = reason
      delay = deadline - world.now
    }
    world.note("link \(link.number) opening, will be \(outcome) after \(delay.milliseconds) ms")
    if delay == .zero { return resolve(link, failure) }
    world.after(delay) { [self] in
      guard self.link === link else { return }
      resolve(link, failure)
      world.hasNews = true
    }
  }

  private func resolve(_ link: SimulatedLink, _ failure: LinkFailure?) {
    if let failure {
      link.state = .failed(failure)
      lastFailure = failure
      world.mark("link-failed-\(failure.name)")
      return
    }
    link.state = .open
    link.room = dice.number(weather.sendRoom)
    link.lastUpArrival = world.now
    link.lastDownArrival = world.now
    if let linkBytes = weather.linkBytes { link.bytesLeft = dice.number(linkBytes) }
    user?.accept(link)
    planCut(link)
  }

  /// What of `piece` the link still carries; cuts it behind that.
  private func wear(_ link: SimulatedLink, _ piece: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let carried = piece.prefix(link.bytesLeft)
    link.bytesLeft -= carried.count
    if carried.count < piece.count { world.at(world.now) { [self] in cut(link, dice.pick(weather.cutKinds)) } }
    return carried
  }

  private func planCut(_ link: SimulatedLink) {
    guard let life = weather.linkLife else { return }
    let kind = dice.pick(weather.cutKinds)
    let name = weather.name
    world.after(dice.spanOfAnyMagnitude(life)) { [self] in
      // A weather that has passed cuts nothing any more.
      if weather.name == name { cut(link, kind) }
    }
  }

  var state: LinkState { link?.state ?? .closed }

  func send(_ bytes: Span<UInt8>) -> LinkTransfer {
    guard let link, case .open = link.state else {
      world.violate("host: send without an open link")
      return .ended(.connectionLost)
    }
    if bytes.isEmpty { world.violate("host: send of nothing") }
    checkOffer(bytes, link)
    if let death = link.death { return ended(link, death) }
    let free = link.room - link.heldUp
    guard free > 0 else {
      link.wantsOutput = true
      link.blockedOffer = (0..<bytes.count).map { bytes[$0] }
      world.mark("send-would-block")
      return .wouldBlock
    }
    link.wantsOutput = false
    link.blockedOffer = []
    sendCount += 1
    // A system takes what it has room for; only odd ones take less.
    let piece = weather.pieceBytesMax < 1460 ? dice.number(1...weather.pieceBytesMax) : free
    let count = min(bytes.count, free, piece)
    if count < bytes.count { world.mark("partial-send") }
    transmitUp((0..<count).map { bytes[$0] }[...], link)
    return .moved(count)
  }

  private func checkOffer(_ bytes: Span<UInt8>, _ link: SimulatedLink) {
    guard !link.blockedOffer.isEmpty else { return }
    var isSame = bytes.count >= link.blockedOffer.count
    if isSame { for (index, byte) in link.blockedOffer.enumerated() where bytes[index] != byte { isSame = false } }
    if !isSame { world.violate("host: other bytes are offered after a send that would have blocked") }
  }

  private func transmitUp(_ bytes: ArraySlice<UInt8>, _ link: SimulatedLink) {
    link.heldUp += bytes.count
    // In up to three pieces, so that a cut leaves the beginning of a packet with the broker.
    var rest = bytes
    while !rest.isEmpty {
      let piece = rest.prefix(dice.once(in: weather.split) ? dice.number(1...rest.count) : rest.count)
      rest = rest.dropFirst(piece.count)
      let arrival = max(link.lastUpArrival, world.now + dice.span(weather.delay))
      link.lastUpArrival = arrival
      world.at(arrival) { [self] in
        guard link.carriesUp else { return }
        link.heldUp -= piece.count
        if link.wantsOutput { world.hasNews = true }
        user?.receive(wear(link, piece), from: link)
      }
    }
  }

  func receive(into buffer: inout ByteBuffer) -> LinkTransfer {
    guard let link, case .open = link.state else {
      world.violate("host: receive without an open link")
      return .ended(.connectionLost)
    }
    if buffer.freeCount == 0 { world.violate("host: receive into a full buffer") }
    link.wantsInput = false
    if link.unread > 0 {
      let count = min(link.unread, min(buffer.freeCount, weather.pieceBytesMax))
      buffer.append(link.inbox[link.inboxHead..<(link.inboxHead + count)].span)
      link.inboxHead += count
      if link.unread == 0 {
        link.inbox.removeAll(keepingCapacity: true)
        link.inboxHead = 0
      }
      return .moved(count)
    }
    if let death = link.death { return ended(link, death) }
    if link.peerHasClosed { return ended(link, .closedByPeer) }
    link.wantsInput = true
    return .wouldBlock
  }

  /// Whether the client's system has news for `receive`: it says no only once the last one would have blocked and
  /// nothing has come since.
  var mayReceive: Bool {
    guard let link, case .open = link.state else { return true }
    return !link.wantsInput || link.unread > 0 || link.death != nil || link.peerHasClosed
  }

  private func ended(_ link: SimulatedLink, _ failure: LinkFailure) -> LinkTransfer {
    link.state = .failed(failure)
    lastFailure = failure
    return .ended(failure)
  }

  func close() {
    guard let link else { return }
    self.link = nil
    guard case .opening = link.state else {
      world.note("link \(link.number) closed by the client")
      link.state = .closed
      // With bytes unread the system answers with a reset, which may overtake what was sent.
      if link.unread > 0, dice.once(in: 3) { link.carriesUp = false }
      world.at(max(link.lastUpArrival, world.now + dice.span(weather.delay))) { [self] in
        if link.carriesUp || dice.once(in: 2) { user?.end(of: link) }
      }
      return
    }
    link.state = .closed
  }

  // MARK: The broker's side

  func transmitDown(_ bytes: [UInt8], to link: SimulatedLink, after delay: TimeSpan = .zero) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = rest.prefix(
        min(weather.pieceBytesMax, dice.once(in: weather.split) ? dice.number(1...rest.count) : rest.count))
      rest = rest.dropFirst(piece.count)
      let arrival = max(link.lastDownArrival, world.now + delay + dice.span(weather.delay))
      link.lastDownArrival = arrival
      world.at(arrival) { [self] in
        guard link.carriesDown, case .open = link.state else { return }
        link.inbox.append(contentsOf: wear(link, piece))
        if link.wantsInput { world.hasNews = true }
      }
    }
  }

  /// The broker closes in an orderly way: what it has sent arrives first.
  func closeFromPeer(_ link: SimulatedLink) {
    world.at(max(link.lastDownArrival, world.now + dice.span(weather.delay))) { [self] in
      guard link.carriesDown else { return }
      link.peerHasClosed = true
      if link.wantsInput { world.hasNews = true }
    }
  }

  /// The client must close the link within a moment after all that was sent to it has arrived.
  func expectClose(of link: SimulatedLink, why: String) {
    world.at(link.lastDownArrival + .seconds(1)) { [self] in
      guard link.carriesDown, link.carriesUp, link.death == nil, case .open = link.state else { return }
      world.violate("the client keeps a connection open on which the broker sent \(why)")
    }
  }

  // MARK: Damage

  func cut(_ link: SimulatedLink, _ kind: CutKind) {
    guard case .open = link.state, link.death == nil, link.carriesUp, link.carriesDown else { return }
    world.mark("cut-\(kind)")
    world.note("link \(link.number) cut: \(kind)")
    switch kind {
    case .reset:
      die(link, .connectionLost)
      // The broker may learn of it now, later, or not before it misses pings.
      if dice.once(in: 2) { world.after(dice.spanOfAnyMagnitude(0...60_000)) { [self] in user?.end(of: link) } }
    case .closedByPeer:
      user?.end(of: link)
      closeFromPeer(link)
    case .halfOpen:
      link.carriesUp = false
      link.carriesDown = false
      // Retransmission gives up after some 15 minutes.
      world.after(dice.span(600_000...1_200_000)) { [self] in die(link, .connectionLost) }
    case .deafClient: link.carriesDown = false
    case .muteClient: link.carriesUp = false
    }
  }

  private func die(_ link: SimulatedLink, _ failure: LinkFailure) {
    guard case .open = link.state else { return }
    link.carriesUp = false
    link.carriesDown = false
    link.death = failure
    if dice.once(in: 2) {
      link.inbox = []
      link.inboxHead = 0
    }
    if link.wantsInput || link.wantsOutput { world.hasNews = true }
  }

  /// The machine sleeps for `span`: nothing arrives, and whoever waited for us has given up.
  func loseDuringSuspend() {
    guard let link, case .open = link.state else { return }
    if dice.once(in: 2) { cut(link, .halfOpen) } else { die(link, .connectionLost) }
  }
}
