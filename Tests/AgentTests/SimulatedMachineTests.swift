import Bytes
import HostInterface
import Testing

@testable import Simulator

/// What the simulated machine can do that no part of the agent asks for yet.
@Suite struct SimulatedMachineTests {
  private func makeMachine() -> Machine {
    Machine(
      world: World(seed: 1, start: Instant(milliseconds: 0), isTracing: false), sensors: [.counter, .telling],
      commandTimeouts: [])
  }

  @Test func setsOutputsThatAreThereAndOurs() {
    let machine = makeMachine()
    #expect(machine.setOutput(0, to: 1) == .done)
    #expect(machine.setOutput(0, to: 0) == .done)
    #expect(machine.outputs == [0: 0])
    #expect(machine.setOutput(1, to: 1) == .busy)
    #expect(machine.setOutput(2, to: 1) == .notFound)
  }

  @Test func remembersWhyItStarted() {
    let machine = makeMachine()
    #expect(machine.lastStart == .power)
    #expect(machine.reboot() == .accepted)
    #expect(machine.lastStart == .request)
    #expect(machine.rebootCount == 1)
  }

  @Test func tellsEachNewsOnce() {
    let machine = makeMachine()
    #expect(machine.nextTellingSource() == nil)
    machine.tell(1)
    machine.tell(1)
    #expect(machine.nextTellingSource() == 1)
    #expect(machine.nextTellingSource() == nil)
    #expect(machine.toldCount == [1: 2])
  }
}
