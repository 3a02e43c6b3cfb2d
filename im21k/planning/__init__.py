"""What fits on a GPU, how fast, and what limits?

`plan` compiles the training step for a card of `cards` and reads the program; the
modules are, in order: links, datasheets, card_names, cards, hlo, program, peak,
measured, workload, compiled, compiler, sweeps, prices, advice, wording,
comparison, plan. `bench_loader` measures the loader on this machine.
"""
