// Outputs: lines of GPIO chips, lights, and attributes of the kernel's.

import Bytes
import CLinux
import Fieldbus
import HostInterface

/// One output.
struct Output: BitwiseCopyable {
  let kind: OutputKind
  let placeStart: Int
  let placeCount: Int
  /// The request of a line, or -1.
  var descriptor: Int32 = -1

  var place: Range<Int> { placeStart..<(placeStart + placeCount) }
}

/// All outputs of a configuration.
struct OutputTable: ~Copyable {
  private let pinned = Pinned()
  private var outputs: FixedArray<Output>
  private var text: ByteBuffer

  /// Keeps its outputs in `outputs`, and their places in `text`.
  init(_ outputs: consuming FixedArray<Output>, _ text: consuming ByteBuffer) {
    self.outputs = outputs
    self.text = text
  }

  /// Adds the next output; false where there is no room.
  mutating func open(_ kind: OutputKind, _ place: Span<UInt8>) -> Bool {
    guard place.count <= text.freeCount else { return false }
    let output = Output(kind: kind, placeStart: text.count, placeCount: place.count)
    text.append(place)
    return outputs.append(output)
  }

  /// Gives all of them back; they keep the values that they have.
  mutating func close() {
    for index in 0..<outputs.count where outputs[index].descriptor >= 0 { System.close(outputs[index].descriptor) }
    outputs.removeAll()
    text.removeAll()
  }

  @inline(never)  // beside the turns without commands
  mutating func set(_ index: Int, to value: Int, roots: borrowing MachineRoots) -> OutputAnswer {
    if outputs[index].kind == .gpio { return setLine(index, to: value, roots) }
    let path = path(index, roots)
    guard !path.isTooLong else { return .notFound }
    let descriptor = path.withPointer { mote_open($0, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) }
    guard descriptor >= 0 else { return answer(.last) }
    defer { System.close(descriptor) }
    // A number in text is what attributes take, in one call.
    var number = PathText()
    number.append(decimal: value)
    number.append("\n")
    do throws(Errno) { try number.write(to: descriptor) } catch { return answer(error) }
    return .done
  }

  private func path(_ index: Int, _ roots: borrowing MachineRoots) -> PathText {
    let place = text.span.extracting(outputs[index].place)
    guard outputs[index].kind == .led else { return PathText(place) }
    var path = roots.classPath("leds")
    path.append("/")
    path.append(place)
    path.append("/brightness")
    return path
  }

  private mutating func setLine(_ index: Int, to value: Int, _ roots: borrowing MachineRoots) -> OutputAnswer {
    var values = InlineArray<16, UInt8>(repeating: 0)
    values[0] = value > 0 ? 1 : 0
    values[8] = 1
    var span = values.mutableSpan
    if outputs[index].descriptor >= 0 {
      if span.control(outputs[index].descriptor, LineRequestNumber.setValues) { return .done }
      let failure = Errno.last
      System.close(outputs[index].descriptor)
      outputs[index].descriptor = -1
      // Its chip may be back under another number.
      if failure.code != ENODEV { return answer(failure) }
    }
    let descriptor = askForLine(index, isActive: value > 0, roots)
    guard descriptor >= 0 else { return answer(.last) }
    outputs[index].descriptor = descriptor
    return .done
  }

  /// The descriptor of the request, or -1 with errno.
  private func askForLine(_ index: Int, isActive: Bool, _ roots: borrowing MachineRoots) -> Int32 {
    let place = text.span.extracting(outputs[index].place)
    guard let source = LineSource(place) else { return nowhere() }
    var found = LinePlace()
    if found.find(place.extracting(0..<source.placeEnd), roots) != nil { return nowhere() }
    guard let chip = GPIOChip(number: found.chip) else { return nowhere() }
    defer { System.close(chip.descriptor) }
    return chip.request(
      found.line, source.options.flags | LineFlag.output, LineAttribute(kind: .outputValue, value: isActive ? 1 : 0))
  }

  private func nowhere() -> Int32 {
    mote_set_errno(ENOENT)
    return -1
  }

  private func answer(_ failure: Errno) -> OutputAnswer {
    switch failure.code {
    case ENOENT, ENODEV, ENXIO, ENOTDIR: .notFound
    case EACCES, EPERM, EROFS: .notPermitted
    case EBUSY: .busy
    case EINVAL, ERANGE: .outOfRange
    default: .inputOutput
    }
  }
}
