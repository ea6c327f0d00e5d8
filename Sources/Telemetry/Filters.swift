// What is done with a sensor's numbers before they are reported: short chains of steps, with the memory that they need,
// for all sensors that have one.

import AgentConfiguration
import Bytes
import HostInterface

/// One step at work.
private struct FilterState: BitwiseCopyable {
  let step: FilterStep
  /// The first number that it keeps.
  let slot: Int
  /// How many values it has.
  var held = 0
  /// Where the next value goes.
  var position = 0
  /// The value before, or the one that holds.
  var previous = Decimal(0)
  /// The one that is to hold when it stays.
  var candidate = Decimal(0)
  /// When the value before was read, or the candidate first.
  var moment = Instant(milliseconds: 0)

  init(step: FilterStep, slot: Int) {
    self.step = step
    self.slot = slot
  }
}

/// What the filters of some texts need.
public struct FilterNeeds: BitwiseCopyable {
  fileprivate var steps = 0
  fileprivate var slots = 0

  /// Nothing.
  public init() {}

  /// Adds what `text`, which has been found right, needs.
  public mutating func add(_ text: Span<UInt8>) {
    var reader = FilterReader()
    while let step = reader.nextChecked(in: text) {
      steps += 1
      slots += step.slotCount
    }
  }
}

/// All steps of all sensors, and the numbers that they keep. Times are those of the clock that never jumps: a step of
/// the time of day changes nothing.
public struct Filters: ~Copyable {
  private let pinned = Pinned()
  private var states: FixedArray<FilterState>
  private var slots: FixedArray<Decimal>

  /// Claims room for `needs` from `arena`; see `Arena.check`.
  public init(_ needs: FilterNeeds, in arena: inout Arena) {
    states = FixedArray(capacity: needs.steps, for: "sensors", in: &arena)
    slots = FixedArray(capacity: needs.slots, for: "sensors", in: &arena)
    slots.useZeroed()
  }

  /// How many steps there are.
  public var stepCount: Int { states.count }

  /// Adds the steps of `text`, which has been found right and counted in the needs.
  public mutating func append(_ text: Span<UInt8>) {
    var reader = FilterReader()
    var slot = states.count == 0 ? 0 : states[states.count - 1].slot + states[states.count - 1].step.slotCount
    while let step = reader.nextChecked(in: text) {
      let isAdded = states.append(FilterState(step: step, slot: slot))
      precondition(isAdded, "the needs were those of other texts")
      if step.kind == .calibrate {
        for index in 0..<step.slotCount { slots[slot + index] = step.point(index, in: text) }
      }
      slot += step.slotCount
    }
  }

  /// Puts a value that was read at `now` through the steps from `first` to the one before `end`.
  ///
  /// - Returns: what comes out; nil where that is nothing yet.
  /// - Throws: `outOfRange` where it has no room in a number.
  public mutating func apply(
    _ value: Decimal, from first: Int, to end: Int, at now: Instant
  ) throws(ReadFailure) -> Decimal? {
    var value = value
    for index in first..<end {
      guard let next = try apply(value, index, now) else { return nil }
      value = next
    }
    return value
  }

  private mutating func apply(_ value: Decimal, _ index: Int, _ now: Instant) throws(ReadFailure) -> Decimal? {
    let step = states[index].step
    var result: Decimal?
    switch step.kind {
    case .scale: result = value.multiplied(by: step.first)
    case .offset: result = value.adding(step.first)
    case .round: result = value.rounded(toFractionDigits: step.count)
    case .clamp:
      result = value.isLess(than: step.first) ? step.first : step.second.isLess(than: value) ? step.second : value
    case .calibrate: result = calibrated(value, states[index].slot, step.count)
    case .median:
      keep(value, index)
      result = median(index)
    case .average:
      keep(value, index)
      result = mean(index)
    case .debounce: result = debounced(value, index, now)
    case .delta:
      let hadOne = states[index].held > 0
      result = value.subtracting(states[index].previous)
      note(value, index, now)
      if !hadOne { return nil }
    case .rate: return try rate(value, index, now)
    }
    guard let result else { throw .outOfRange }
    return result
  }

  /// Notes the value that the next one is compared with.
  @inline(never)  // small code
  private mutating func note(_ value: Decimal, _ index: Int, _ now: Instant) {
    states[index].held = 1
    states[index].previous = value
    states[index].moment = now
  }

  /// Keeps a value in place of the oldest.
  @inline(never)  // small code
  private mutating func keep(_ value: Decimal, _ index: Int) {
    slots[states[index].slot + states[index].position] = value
    states[index].held = max(states[index].held, states[index].position + 1)
    states[index].position = states[index].position + 1 == states[index].step.count ? 0 : states[index].position + 1
  }

  /// The value that has as many below it as above; of an even number of values the lower one in the middle. Looks at
  /// each value once for each: there are at most fifteen.
  private func median(_ index: Int) -> Decimal {
    let start = states[index].slot
    let middle = (states[index].held - 1) / 2
    for candidate in start..<(start + states[index].held) {
      var (less, same) = (0, 0)
      for other in start..<(start + states[index].held) {
        if slots[other].isLess(than: slots[candidate]) {
          less += 1
        } else if slots[other] == slots[candidate] {
          same += 1
        }
      }
      if less <= middle, middle < less + same { return slots[candidate] }
    }
    return slots[start]
  }

  private func mean(_ index: Int) -> Decimal? {
    var sum = Decimal(0)
    for slot in states[index].slot..<(states[index].slot + states[index].held) {
      guard let next = sum.adding(slots[slot]) else { return nil }
      sum = next
    }
    return sum.divided(by: Decimal(Int64(states[index].held)))
  }

  /// Along the line between the two points around a value, or that of the last two beyond them.
  private func calibrated(_ value: Decimal, _ slot: Int, _ pointCount: Int) -> Decimal? {
    var start = slot
    let last = slot + 2 * pointCount - 4
    while start < last, slots[start + 2].isLess(than: value) { start += 2 }
    guard let width = slots[start + 2].subtracting(slots[start]),
      let height = slots[start + 3].subtracting(slots[start + 1]),
      let rise = value.subtracting(slots[start])?.multiplied(by: height)?.divided(by: width)
    else { return nil }
    return slots[start + 1].adding(rise)
  }

  /// The value that holds: another one does as soon as nothing else has been read for the time of the step.
  private mutating func debounced(_ value: Decimal, _ index: Int, _ now: Instant) -> Decimal {
    if states[index].held == 0 || states[index].previous == value {
      note(value, index, now)
    } else if states[index].held == 2, states[index].candidate == value {
      if now - states[index].moment >= states[index].step.time { note(value, index, now) }
    } else {
      states[index].held = 2
      states[index].candidate = value
      states[index].moment = now
    }
    return states[index].previous
  }

  /// What a counter has counted in each `time` since the value before. One that is smaller than before has been set
  /// back, and its count begins anew; or it has so few bits that it has gone around, which is believed where it has
  /// counted less than half of all that they can hold.
  private mutating func rate(_ value: Decimal, _ index: Int, _ now: Instant) throws(ReadFailure) -> Decimal? {
    let state = states[index]
    note(value, index, now)
    let passed = now - state.moment
    guard state.held > 0, passed > .zero else { return nil }
    guard var count = value.subtracting(state.previous) else { throw .outOfRange }
    if count.significand < 0 {
      guard state.step.count > 0, let around = count.adding(Decimal(1 << Int64(state.step.count))) else { return nil }
      guard around.significand >= 0, around.isLess(than: Decimal(1 << Int64(state.step.count - 1))) else { return nil }
      count = around
    }
    guard
      let rate = count.multiplied(by: Decimal(state.step.time.milliseconds))?
        .divided(by: Decimal(passed.milliseconds))
    else { throw .outOfRange }
    return state.step.hasMaximum && state.step.first.isLess(than: rate) ? nil : rate
  }
}
