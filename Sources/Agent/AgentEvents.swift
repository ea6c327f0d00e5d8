// Events: read just in time, written into one buffer, handed to the client or the queue.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import JSON
import MQTT
import Spool
import Telemetry

extension Agent {
  /// Collects and publishes every event that is due; those due together end up in one write.
  mutating func collectEvents<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) {
    guard stopDeadline == nil else { return }
    for index in 0..<plan.events.count where isReady(index, now) {
      collectEvent(index, now, &host)
    }
  }

  /// The next moment at which an event is due or its slow sources are given up. A QoS 0 event has none without the
  /// connection, and none before the rate allows it.
  func eventDeadline(_ now: Instant) -> Instant? {
    guard stopDeadline == nil else { return nil }
    var deadline: Instant?
    for index in 0..<plan.events.count {
      let event = plan.events[index]
      if plan.settings.events[index].qos > 0 {
        deadline = earlier(deadline, event.collectionDeadline ?? event.schedule.due)
      } else if isOnline, rate.allows(at: now) {
        deadline = earlier(deadline, event.collectionDeadline ?? event.schedule.due)
      } else if isOnline {
        deadline = earlier(deadline, max(event.schedule.due, rate.allowedFrom))
      }
    }
    return deadline
  }

  /// Whether the event is due and of use now: a QoS 0 event needs the connection, and is then read freshly.
  private func isReady(_ index: Int, _ now: Instant) -> Bool {
    guard plan.events[index].schedule.due <= now else { return false }
    return plan.settings.events[index].qos > 0 || (isOnline && rate.allows(at: now))
  }

  private mutating func collectEvent<H: Host & ~Copyable>(_ index: Int, _ now: Instant, _ host: inout H) {
    let deadline = plan.events[index].collectionDeadline ?? now + plan.settings.agent.sourceTimeout
    guard prepareSources(of: index, &host) || now >= deadline else {
      plan.events[index].collectionDeadline = deadline
      return
    }
    plan.events[index].collectionDeadline = nil
    plan.events[index].schedule.advance(past: now)
    payload.removeAll()
    var envelope = EventEnvelope(into: &payload)
    writeMembers(of: index, into: &envelope, &host)
    let memberCount = envelope.memberCount
    envelope.finish(at: host.wallTime(), into: &payload)
    guard memberCount > 0 else { return }
    let qos = QoS(rawValue: plan.settings.events[index].qos) ?? .atLeastOnce
    publishPayload(on: plan.events[index].topic, qos: qos, now, &host)
  }

  /// Has the slow sources of an event read, all of them side by side; true when every source is ready.
  private func prepareSources<H: Host & ~Copyable>(of event: Int, _ host: inout H) -> Bool {
    var areReady = true
    for index in 0..<plan.sensors.count where plan.sensors[index].event == event {
      if !host.prepareSource(plan.sensors[index].source) { areReady = false }
    }
    return areReady
  }

  /// Writes a member for each sensor of the event that has a value. What is still not there now comes too late.
  private mutating func writeMembers<H: Host & ~Copyable>(
    of event: Int, into envelope: inout EventEnvelope, _ host: inout H
  ) {
    var lastSource = -1
    var lastRead = SourceRead.pending
    for index in 0..<plan.sensors.count where plan.sensors[index].event == event {
      let source = plan.sensors[index].source
      if source != lastSource {
        sourceText.removeAll()
        lastRead = host.readSource(source, into: &sourceText)
        lastSource = source
      }
      switch lastRead {
      case .complete: writeMember(index, into: &envelope, &host)
      case .failed(let failure): note(failure, of: index, &host)
      case .pending: note(.timeout, of: index, &host)
      }
    }
  }

  private mutating func writeMember<H: Host & ~Copyable>(
    _ index: Int, into envelope: inout EventEnvelope, _ host: inout H
  ) {
    let field = plan.sensors[index].field
    let reading = interpret(sourceText, with: &plan.sensors[index].channel, field: field, in: plan.settings)
    if case .failed(let failure) = reading { return note(failure, of: index, &host) }
    writeName(ofSensor: index, in: plan, envelope: &envelope, into: &payload)
    switch reading {
    case .number(let value): payload.append(value)
    case .boolean(let value): payload.append(value ? "true" : "false")
    case .text(let range): payload.appendJSON(string: sourceText, range)
    case .failed: break
    }
    note(nil, of: index, &host)
  }

  /// Logs a sensor's failure once when it begins, and its return once.
  private mutating func note<H: Host & ~Copyable>(_ failure: ReadFailure?, of index: Int, _ host: inout H) {
    guard plan.sensors[index].channel.note(isFailing: failure != nil) else { return }
    let name = plan.sensors[index].name
    if let failure {
      log.begin(.warning, "sensor", "failed")
      log.add("sensor", name, of: plan.settings)
      log.add("reason", failure.name)
    } else {
      log.begin(.info, "sensor", "recovered")
      log.add("sensor", name, of: plan.settings)
    }
    log.end(to: &host)
  }

  /// Publishes what `payload` holds, now or through the queue.
  mutating func publishPayload<H: Host & ~Copyable>(
    on topic: PlanText, qos: QoS, _ now: Instant, _ host: inout H
  ) {
    guard !payload.hasOverflowed, payload.count <= PayloadLimits.bytesMax,
      client.fits(byteCount: topic.range.count + payload.count, qos: qos)
    else {
      log.begin(.error, "event", "too-large")
      log.add("topic", topic, of: plan)
      log.add("packet-size", plan.settings.mqtt.packetBytesMax)
      log.end(to: &host)
      return
    }
    counters.events += 1
    if qos == .atMostOnce {
      if !publish(on: topic, qos: qos, token: 0, now) { counters.eventsSkipped += 1 }
      return
    }
    if isOnline, let token = queue.tokenForDirectMessage() {
      if rate.allows(at: now), publish(on: topic, qos: qos, token: token, now) { return }
    }
    let dropped = queue.append(topic: topic, of: plan, payload: payload, qos: qos)
    if dropped > 0 { noteDropping(dropped, &host) }
  }

  private mutating func publish(on topic: PlanText, qos: QoS, token: UInt64, _ now: Instant) -> Bool {
    guard isOnline else { return false }
    do throws(PublishRefusal) {
      try client.publish(topic: topic, of: plan, payload: payload, qos: qos, token: token, now: now)
    } catch {
      return false
    }
    rate.spend(at: now)
    return true
  }

  /// Hands waiting messages to the client while it, the window and the rate have room.
  mutating func sendQueued<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) {
    guard isOnline else { return }
    while let message = queue.front, rate.allows(at: now) {
      do throws(PublishRefusal) {
        try forward(message, of: queue, through: &client, now: now)
      } catch {
        return
      }
      queue.removeFront()
      rate.spend(at: now)
    }
    if queue.count == 0, isDropping {
      isDropping = false
      log.begin(.info, "queue", "drained")
      log.add("dropped", Int(truncatingIfNeeded: queue.droppedCount - droppedBeforeOutage))
      log.end(to: &host)
    }
  }

  private mutating func noteDropping<H: Host & ~Copyable>(_ dropped: Int, _ host: inout H) {
    guard !isDropping else { return }
    isDropping = true
    droppedBeforeOutage = queue.droppedCount - UInt64(dropped)
    log.begin(.warning, "queue", "dropping")
    log.add("policy", "oldest")
    log.add("waiting", queue.count)
    log.end(to: &host)
  }
}

// What touches several parts of the agent at once takes them as parameters: a span of one part, held while another is
// changed, would overlap with the change of the whole.

private func writeName(
  ofSensor index: Int, in plan: borrowing Plan, envelope: inout EventEnvelope, into buffer: inout ByteBuffer
) {
  envelope.name(prepared: plan.text.span.extracting(plan.sensors[index].memberName.range), into: &buffer)
}

private func interpret(
  _ text: borrowing ByteBuffer, with channel: inout Channel, field: Text, in settings: borrowing Settings
) -> Reading {
  channel.interpret(text.span, field: settings.bytes(field))
}

private func forward(
  _ message: QueuedMessage, of queue: borrowing MessageQueue, through client: inout Client, now: Instant
) throws(PublishRefusal) {
  let bytes = queue.bytes
  try client.publish(
    topic: bytes.extracting(message.topic), payload: bytes.extracting(message.payload),
    qos: QoS(rawValue: message.qos) ?? .atLeastOnce, token: message.token, now: now)
}

extension Client {
  fileprivate mutating func publish(
    topic: PlanText, of plan: borrowing Plan, payload: borrowing ByteBuffer, qos: QoS, token: UInt64, now: Instant
  ) throws(PublishRefusal) {
    try publish(
      topic: plan.text.span.extracting(topic.range), payload: payload.span, qos: qos, token: token, now: now)
  }
}

extension MessageQueue {
  fileprivate mutating func append(
    topic: PlanText, of plan: borrowing Plan, payload: borrowing ByteBuffer, qos: QoS
  ) -> Int {
    append(topic: plan.text.span.extracting(topic.range), payload: payload.span, qos: qos.rawValue)
  }
}

extension LogWriter {
  fileprivate mutating func add(_ key: StaticString, _ text: PlanText, of plan: borrowing Plan) {
    add(key, text: plan.text.span.extracting(text.range))
  }
}

extension ByteBuffer {
  fileprivate mutating func appendJSON(string text: borrowing ByteBuffer, _ range: Range<Int>) {
    appendJSON(string: text.span.extracting(range))
  }
}
