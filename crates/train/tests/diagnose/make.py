"""Makes the fixtures that TRL and TensorBoard wrote.

    trl_trainer_state.json   TRL 1.16.0 on a two-layer Qwen2 of random weights: GRPO, 40 steps, learning rate 0.1 (far too high),
                             reward: the share of tokens whose number has the parity of the prompt's last one. 30 lines:
                             GRPOConfig(use_cpu=True, per_device_train_batch_size=16, num_generations=4,
                             max_completion_length=12, num_iterations=2, steps_per_generation=1, learning_rate=0.1,
                             max_steps=40, logging_steps=1, save_steps=20, seed=1); then checkpoint-40/trainer_state.json.
    events.out.tfevents.tensor
                             this script, with tensorboard 2.21.0: scalars as tensors, as `tf.summary.scalar` writes them.

    pip install tensorboard==2.21.0 && python make.py
"""

from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.record_writer import RecordWriter

path = Path(__file__).parent / "events.out.tfevents.tensor"
with open(path, "wb") as file:
    writer = RecordWriter(file)
    writer.write(Event(wall_time=1.0, file_version="brain.Event:2").SerializeToString())
    for step in range(1, 31):
        def value(tag, number):
            tensor = TensorProto(dtype=1, float_val=[number], tensor_shape=TensorShapeProto())
            metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
            return Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
        text = Summary.Value(tag="note", tensor=TensorProto(dtype=7, string_val=[b"not a number"]))
        summary = Summary(value=[value("train/reward", step / 32), value("train/entropy", 2.0 - step / 16), text])
        writer.write(Event(wall_time=1.0 + step, step=step, summary=summary).SerializeToString())
