"""What fits on a GPU, how fast, and what limits?

`plan` compiles the training step for a card of `cards` and reads the program; the
modules are, in order: links, datasheets, card_names, cards, hlo, collectives, network,
program, peak, measured, workload, compiled, compiler, sweeps, prices, wording,
comparison, hosts, advice, options, plan. `bench_loader` measures the loader on this
machine.
"""
