"""Chapter 1: Do video-text models see time?"""

# Record set -> what makes its numbers; records of scale paper come from the probe.
EXPERIMENTS = {
    "01_frame_shuffle": "experiment:measure",
    "01_frame_shuffle_dial": "order_dial:measure",
    "01_frame_shuffle_dial_tuning": "order_dial_tuning:measure",
    "01_frame_shuffle_robot": "robot:measure",
    "01_frame_shuffle/paper": "real_models",
}
