// Events: read just in time, written into one buffer, handed to the outbox.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import MQTT
import Telemetry

/// Collects what is due. Schedules, channels and slow sources in the making are its own.
struct EventCollector: ~Copyable {
  private let pinned = Pinned()
  private(set) var table: EventTable
  /// Of the events that are kept while there is no connection (QoS 1 and 2), and of those that are not.
  private var kept = EventChain()
  private var fleeting = EventChain()
  /// Raw text of the source that was read last.
  var sourceText: ByteBuffer
  /// The payload being written.
  var payload: ByteBuffer
  /// When the event that is being written ended to wait for its slow sources, and how long it had waited.
  private var waitEnd = Instant(milliseconds: 0)
  private var waited = TimeSpan.zero
  /// How old the slow source's answer is that was read last, where it came too late for an earlier event.
  private var age = TimeSpan.zero
  var stamp = TimeStampWriter()
  /// Whether a QoS 0 event has found no room: it and those behind it wait until what is being sent has gone out.
  private(set) var isCrowded = false

  /// Takes buffers for one source's text and one payload from `arena`.
  init(table: consuming EventTable, packetBytesMax: Int, in arena: inout Arena) {
    sourceText = ByteBuffer(capacity: HostLimits.sourceBytesMax, for: "source", in: &arena)
    payload = ByteBuffer(capacity: packetBytesMax, for: "payload", in: &arena)
    self.table = table
    order()
  }

  /// Goes over to the events of a new configuration. Those whose schedules it has not changed keep them, with what a
  /// command has made of their intervals: only new ones are due at once.
  mutating func replaceTable(
    _ newTable: consuming EventTable, _ settings: borrowing Settings, _ newSettings: borrowing Settings
  ) {
    for index in 0..<newTable.events.count {
      let event = newSettings.events[index]
      for former in 0..<table.events.count
      where settings.events[former].interval == event.interval
        && settings.bytes(settings.events[former].name).equals(newSettings.bytes(event.name))
        && settings.events[former].sample == event.sample && settings.agent.align == newSettings.agent.align
      {
        newTable.events[index].schedule = table.events[former].schedule
      }
    }
    table = newTable
    order()
  }

  // MARK: When

  /// The next moment at which an event is due or its slow sources are given up. A QoS 0 event has none without the
  /// connection, and none before the rate allows it.
  @inline(__always)
  func deadline(_ outbox: borrowing Outbox) -> Instant {
    guard outbox.client.isConnected else { return kept.wake }
    return min(kept.wake, max(fleeting.wake, outbox.allowedFrom))
  }

  /// Puts all events in order anew.
  private mutating func order() {
    isCrowded = false
    kept = EventChain()
    fleeting = EventChain()
    var (lastKept, lastFleeting) = (EventChain.end, EventChain.end)
    for index in 0..<table.events.count {
      if table.events[index].qos == .atMostOnce {
        table.place(index, in: &fleeting, from: lastFleeting)
        lastFleeting = index
      } else {
        table.place(index, in: &kept, from: lastKept)
        lastKept = index
      }
    }
    table.noteNext(of: &kept)
    table.noteNext(of: &fleeting)
  }

  /// Makes the events that `request`, parsed from `text`, names due now; gives how many.
  mutating func trigger(
    _ request: BuiltInRequest, in text: Span<UInt8>, _ settings: borrowing Settings, _ now: Instant
  ) -> Int {
    var count = 0
    for index in 0..<table.events.count where request.names(settings.bytes(settings.events[index].name), in: text) {
      table.events[index].schedule.trigger(at: now)
      table.force(index)
      count += 1
    }
    order()
    return count
  }

  /// Changes the interval of the events that `request`, parsed from `text`, names; gives how many.
  mutating func setInterval(
    _ interval: TimeSpan, of request: BuiltInRequest, in text: Span<UInt8>, _ settings: borrowing Settings,
    _ now: Instant
  ) -> Int {
    var count = 0
    for index in 0..<table.events.count where request.names(settings.bytes(settings.events[index].name), in: text) {
      table.setInterval(interval, of: index, now)
      // Slow sources that are being read belong to the event that will not come.
      table.events[index].collectionDeadline = nil
      count += 1
    }
    order()
    return count
  }

  // MARK: Collecting

  /// Collects and publishes every event that is due; those due together end up in one write.
  @inline(__always)
  mutating func collect<H: HostClock & HostSensors & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ clock: borrowing ClockFloor, _ outbox: inout Outbox, _ now: Instant,
    _ log: inout LogWriter, _ host: inout H
  ) {
    while let source = host.nextTellingSource() { triggerEvents(ofSource: source, now) }
    if kept.due <= now {
      var chain = kept
      collectDue(of: &chain, settings, clock, &outbox, now, &log, &host)
      kept = chain
    }
    if fleeting.due <= now, outbox.isReady(at: now) {
      var chain = fleeting
      collectDue(of: &chain, settings, clock, &outbox, now, &log, &host)
      if isCrowded { chain.holdBack() }
      fleeting = chain
    }
  }

  /// All that was being sent has gone out.
  @inline(__always)
  mutating func noteRoom() { if isCrowded { release() } }

  @inline(never)  // beside the turns in which nothing waits for room
  private mutating func release() {
    isCrowded = false
    var chain = fleeting
    table.noteNext(of: &chain)
    fleeting = chain
  }

  /// Collects the first events of `chain`, and puts each where it belongs next.
  @inline(never)  // small code: called twice
  private mutating func collectDue<H: HostClock & HostSensors & HostLog & ~Copyable>(
    of chain: inout EventChain, _ settings: borrowing Settings, _ clock: borrowing ClockFloor, _ outbox: inout Outbox,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    var event = chain.first
    var lastWaiting = EventChain.end
    var lastPlaced = EventChain.end
    while event >= 0, table.events[event].schedule.due <= now {
      // A QoS 0 event is of use only now, and is then read freshly.
      if table.events[event].qos == .atMostOnce, isCrowded || !outbox.isReady(at: now) { break }
      let following = table.events[event].following
      collectEvent(event, settings, clock, &outbox, now, &log, &host)
      if table.events[event].schedule.due <= now {
        lastWaiting = event
      } else {
        table.link(following, behind: lastWaiting, in: &chain)
        table.place(event, in: &chain, from: lastPlaced)
        lastPlaced = event
      }
      event = following
    }
    table.noteNext(of: &chain)
  }

  /// A source has told something: the events that it belongs to are due.
  private mutating func triggerEvents(ofSource source: Int, _ now: Instant) {
    for event in 0..<table.events.count {
      for index in table.events[event].firstSensor..<table.events[event].sensorEnd
      where table.sensors[index].source == source { table.events[event].schedule.trigger(at: now) }
    }
    order()
  }

  private mutating func collectEvent<H: HostClock & HostSensors & HostLog & ~Copyable>(
    _ index: Int, _ settings: borrowing Settings, _ clock: borrowing ClockFloor, _ outbox: inout Outbox,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    if table.events[index].hasSlowSources {
      guard prepareSources(of: index, &host) || isPatienceOver(index, settings, now) else { return }
      noteWait(of: index, settings, now)
    }
    payload.removeAll()
    var envelope = EventEnvelope(into: &payload)
    writeMembers(of: index, into: &envelope, settings, &log, &host)
    let isExtended = table.events[index].hasSlowSources
    let memberCount = isExtended && !table.isWorthReporting(index, at: now) ? 0 : envelope.memberCount
    let time = clock.wallTime(&host)
    envelope.finish(at: time, using: &stamp, into: &payload)
    if memberCount > 0 {
      let isTaken = outbox.publish(
        payload, on: TopicName(alreadyChecked: table.bytes(table.events[index].topic)), qos: table.events[index].qos,
        in: table.events[index].place, at: time, now, &log, &host)
      guard isTaken else {
        // It stays due, and is read afresh.
        isCrowded = true
        return
      }
      table.events[index].published = now
      if isExtended { table.noteReported(index, at: now) }
    } else if isExtended {
      table.endWindow(index, at: now)
    }
    table.events[index].schedule.advance(past: now)
  }

  /// How long slow sources of an event are waited for: a share of its interval, and never longer than they may take.
  private func patience(_ index: Int, _ settings: borrowing Settings) -> TimeSpan {
    let share = table.events[index].schedule.interval.milliseconds / HostLimits.patienceShare
    return min(settings.agent.sourceTimeout, .milliseconds(share))
  }

  /// Whether slow sources of an event have been waited for long enough. Begins to wait where that has not begun.
  private mutating func isPatienceOver(_ index: Int, _ settings: borrowing Settings, _ now: Instant) -> Bool {
    let deadline = table.events[index].collectionDeadline ?? now + patience(index, settings)
    table.events[index].collectionDeadline = deadline
    return now >= deadline
  }

  /// Has the slow sources of an event read, as many of them side by side as the host has room for; true when every
  /// source is ready.
  private mutating func prepareSources<H: HostSensors & ~Copyable>(of event: Int, _ host: inout H) -> Bool {
    let first = table.events[event].firstSensor
    // What has been asked for is not asked about whenever one of two hundred has answered.
    var start = table.events[event].collectionDeadline == nil ? first : table.events[event].firstUnasked
    while true {
      var areReady = true
      for index in start..<table.events[event].sensorEnd where !host.prepareSource(table.sensors[index].source) {
        areReady = false
        if host.canPrepareMore { continue }
        table.events[event].firstUnasked = index
        return false
      }
      // From then on each is asked about: another event may have taken an answer, or it has become too old.
      table.events[event].firstUnasked = first
      if !areReady || start == first { return areReady }
      start = first
    }
  }

  /// The event that is about to be written has waited for slow sources, perhaps, and waits no longer.
  @inline(never)  // beside the events without any
  private mutating func noteWait(of event: Int, _ settings: borrowing Settings, _ now: Instant) {
    waitEnd = now
    waited = .zero
    if let deadline = table.events[event].collectionDeadline {
      waited = now - (deadline + .milliseconds(-patience(event, settings).milliseconds))
    }
    table.events[event].collectionDeadline = nil
  }

  /// Notes how old the answer of a slow source is that is about to be read: one that was asked for before this event
  /// began to wait came too late for an earlier one.
  @inline(never)  // beside the events without any
  private mutating func noteAge<H: HostSensors & ~Copyable>(ofSource source: Int, _ host: borrowing H) {
    let sourceAge = host.sourceAge(source, at: waitEnd)
    age = sourceAge > waited ? sourceAge : .zero
  }

  /// Does what is left to be done with a value that has been written as it was read: filters it, and writes the age of
  /// one that came too late for an earlier event; or what is told of a sensor that has none. Gives the reason where
  /// there is no value after all.
  @inline(never)  // beside the events without any
  private mutating func finishMember(
    ofSensor index: Int, of event: Int, _ failure: ReadFailure?, _ envelope: inout EventEnvelope,
    _ settings: borrowing Settings
  ) -> ReadFailure? {
    let readAt = waitEnd + .milliseconds(-age.milliseconds)
    var failure = failure
    var hasValue = failure == nil
    if hasValue, table.sensors[index].report >= 0 {
      do throws(ReadFailure) {
        hasValue = try table.refine(index, of: event, readAt, &payload)
      } catch {
        failure = error
        hasValue = false
      }
      if !hasValue { table.takeBack(index, &envelope, &payload) }
    }
    if hasValue {
      table.sensors[index].readAt = readAt
      if age > .zero { table.writeAge(age, ofSensor: index, into: &payload, settings) }
      if settings.events[event].hasUnits { table.writeUnit(index, &envelope, &payload, settings) }
    } else if table.sensors[index].report >= 0 {
      table.writeHeld(index, of: event, waitEnd, &envelope, &payload, settings)
    }
    if table.sensors[index].report >= 0 { table.writeAlarm(index, &envelope, &payload) }
    return failure
  }

  /// Whether a source that has not answered may take longer than this event waits: then it has not failed yet.
  @inline(never)  // beside what has answered
  private func mayComeLater(for event: Int, _ settings: borrowing Settings) -> Bool {
    patience(event, settings) < settings.agent.sourceTimeout
  }

  /// Writes a member for each sensor that has a value. What is still not there now is for the next event, with its age.
  private mutating func writeMembers<H: HostSensors & HostLog & ~Copyable>(
    of event: Int, into envelope: inout EventEnvelope, _ settings: borrowing Settings, _ log: inout LogWriter,
    _ host: inout H
  ) {
    var lastSource = -1
    var lastRead = SourceRead.pending
    let hasSlowSources = table.events[event].hasSlowSources
    // One turn for each sensor; a range would check its own bounds in each of them.
    var index = table.events[event].firstSensor
    let end = table.events[event].sensorEnd
    while index < end {
      defer { index &+= 1 }
      let source = table.sensors[index].source
      if source != lastSource {
        if hasSlowSources { noteAge(ofSource: source, host) }
        sourceText.removeAll()
        lastRead = host.readSource(source, into: &sourceText)
        lastSource = source
      }
      var failure: ReadFailure?
      switch lastRead {
      case .complete(let exponent):
        failure = table.writeMember(index, from: sourceText, exponent, to: &envelope, into: &payload, settings)
      case .failed(let reason): failure = reason
      case .pending:
        if mayComeLater(for: event, settings) { continue }
        failure = .timeout
      }
      if hasSlowSources { failure = finishMember(ofSensor: index, of: event, failure, &envelope, settings) }
      // A lasting fault is logged once when it begins, and its end once.
      if table.sensors[index].channel.note(isFailing: failure != nil) {
        table.noteChange(ofSensor: index, of: event, failure)
        logChange(ofSensor: table.sensors[index].name, failure, sourceText, settings, &log, &host)
      }
    }
  }
}

private func logChange<H: HostLog & ~Copyable>(
  ofSensor name: Text, _ failure: ReadFailure?, _ source: borrowing ByteBuffer, _ settings: borrowing Settings,
  _ log: inout LogWriter, _ host: inout H
) {
  if failure != nil { log.begin(.warning, "sensor failed") } else { log.begin(.info, "sensor recovered") }
  log.add("sensor", text: settings.bytes(name))
  if let failure { log.add("reason", failure.name) }
  if failure == .busy, !source.isEmpty { log.add("owner", text: source.span) }
  log.end(to: &host)
}
