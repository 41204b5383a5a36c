//! The scenarios, in the order of their numbers.

use super::{Scenario, left, staged};

/// Every failure that a cluster on AWS must stand, and what shows that this one does.
pub const SCENARIOS: [Scenario; 50] = [
    staged(
        1,
        "A peer's kernel panics",
        "It is covered within the detection time, stopped and started, and gets its routes back.",
        &["s01_peer_kernel_panic_is_covered_repaired_and_handed_its_routes_back"],
    ),
    staged(
        2,
        "A peer hangs; its network card still answers pings",
        "It is covered after `daemon_grace`, and not stopped.",
        &["s02_hung_peer_whose_kernel_answers_pings_is_covered_and_not_stopped"],
    ),
    staged(
        3,
        "A peer's monitor is dead, its NAT forwards",
        "Nothing is lost: its routes are taken after `daemon_grace`, and it is not stopped.",
        &["s03_peer_monitor_dead_costs_no_packet_and_no_stop"],
    ),
    staged(
        4,
        "A peer forwards, but has lost the internet",
        "It asks to be relieved, and is at once. It is not stopped.",
        &["s04_nat_without_internet_is_relieved_and_not_stopped"],
    ),
    staged(
        5,
        "Packets are lost in one direction between two nodes",
        "Nobody is stopped, and every private host is served.",
        &["s05_loss_in_one_direction_stops_nobody_and_costs_no_packet"],
    ),
    staged(
        6,
        "Two healthy nodes cannot reach each other at all",
        "Nobody is stopped, each serves its own home, and an alert stands.",
        &[
            "s06_partition_of_two_healthy_nats_stops_nobody_and_is_told",
            "lab_three::a_third_node_vouches_for_two_that_cannot_hear_each_other",
        ],
    ),
    staged(
        7,
        "ICMP between the nodes is blocked",
        "Nothing is moved or stopped, and a failure is still covered.",
        &["s07_blocked_icmp_moves_nothing_and_a_failure_is_still_covered"],
    ),
    staged(
        8,
        "The port of the heartbeats is blocked",
        "Nobody is stopped, no packet is lost, and an alert stands.",
        &["s08_blocked_heartbeats_stop_nobody_cost_no_packet_and_are_told"],
    ),
    staged(
        9,
        "A node's own uplink is lost",
        "It takes nothing and stops nobody, whatever it sees of others.",
        &[
            "s09_node_whose_uplink_is_lost_takes_nothing_from_a_dead_peer_and_stops_nobody",
            "lab_failover::nothing_moves_while_no_nat_has_an_uplink",
        ],
    ),
    staged(
        10,
        "A node's interface is detached, or EC2's source/dest check switched on",
        "It switches the check off. Where it cannot forward, it is relieved and takes nothing.",
        &[
            "s10_node_whose_forwarding_interface_is_detached_is_relieved_and_takes_nothing",
            "s10_source_dest_check_that_cannot_be_switched_off_has_the_node_relieved",
            "lab_setup::what_drifts_is_made_right_again_while_the_peer_takes_nothing",
        ],
    ),
    staged(
        11,
        "EC2's API is down for all nodes",
        "No packet is lost and nothing changes; what fails meanwhile is covered after it.",
        &[
            "s11_api_down_for_all_costs_no_packet_and_a_failure_is_covered_when_it_is_back",
            "s11_api_with_every_kind_of_failure_never_moves_a_working_route",
        ],
    ),
    staged(
        12,
        "EC2's API is down for the heir alone",
        "It retries within bounds, and the next heir steps in.",
        &["s12_api_down_for_the_heir_lets_the_next_heir_step_in"],
    ),
    staged(
        13,
        "EC2 throttles",
        "Calls are spaced out, changes come first, and the takeover is done once EC2 allows it.",
        &["s13_throttled_calls_are_spaced_out_until_the_takeover_goes_through"],
    ),
    staged(
        14,
        "EC2 denies the change of a route",
        "It is asked for rarely, the reason is told, and the takeover is done once it is allowed.",
        &["s14_denied_write_is_asked_for_rarely_and_its_reason_is_told"],
    ),
    staged(
        15,
        "EC2 shows old routes after a write",
        "The node does not fight its own write.",
        &["s15_old_reads_after_a_write_are_not_fought"],
    ),
    staged(
        16,
        "A write is applied, but its answer never comes",
        "The table is read before anything is repeated.",
        &["s16_write_without_an_answer_is_read_back_before_it_is_repeated"],
    ),
    staged(
        17,
        "All nodes boot at once",
        "They observe first, nobody is stopped, and every route ends at its home.",
        &["s17_nodes_that_boot_at_once_stop_nobody_and_end_with_every_route_at_its_home"],
    ),
    staged(
        18,
        "A node boots while its peer holds its routes",
        "It takes nothing; the holder hands back without a lost packet.",
        &["s18_node_that_boots_takes_nothing_and_is_handed_its_routes_without_a_lost_packet"],
    ),
    staged(
        19,
        "The wall clock jumps",
        "Nothing changes, and a failure is still covered.",
        &["s19_clock_jump_changes_nothing_and_a_failure_is_covered_at_once"],
    ),
    staged(
        20,
        "A node stands still for longer than the detection time, then goes on",
        "It reads the routes before it writes anything.",
        &["s20_frozen_node_writes_nothing_after_its_thaw_before_it_has_read"],
    ),
    staged(
        21,
        "The instance metadata service is down",
        "Nothing changes, and a failure is still covered.",
        &["s21_metadata_down_changes_nothing_and_a_failure_is_still_covered"],
    ),
    staged(
        22,
        "Credentials end",
        "They are renewed before a takeover needs them.",
        &["s22_credentials_that_end_are_replaced_before_a_takeover_needs_them"],
    ),
    staged(
        23,
        "A person leads a route out of the cluster",
        "It is respected, and told.",
        &["s23_route_that_a_person_leads_out_of_the_cluster_is_respected_and_told"],
    ),
    staged(
        24,
        "A person deletes a route",
        "It is made again.",
        &["s24_deleted_route_is_made_again_and_a_misplaced_one_handed_back"],
    ),
    staged(
        25,
        "A route is a blackhole",
        "Its group is taken at once, and a takeover does not wait for a blackhole.",
        &["s25_blackhole_is_filled_and_a_takeover_does_not_wait_for_one"],
    ),
    staged(
        26,
        "A peer is terminated",
        "Its routes are taken and kept, and nobody tries to start it.",
        &["s26_terminated_peer_is_covered_and_never_started"],
    ),
    staged(
        27,
        "A replacement comes with a new id and the same tags",
        "It is found by its tags and gets the routes.",
        &["s27_replacement_with_a_new_id_gets_the_routes_of_the_terminated_one"],
    ),
    staged(
        28,
        "A person stops a node",
        "It is covered, and left stopped until a person starts it.",
        &["s28_nat_that_a_person_stops_is_covered_left_stopped_and_back_when_started"],
    ),
    staged(
        29,
        "A stop or a start gets stuck",
        "It is covered. The wait is bounded: a stop is then forced, and an alert stands.",
        &["s29_stop_that_hangs_is_forced", "s29_start_that_hangs_is_covered_and_alerted"],
    ),
    staged(
        30,
        "EC2 has no capacity to start the peer",
        "It stays covered, and the start is tried again later.",
        &["s30_lack_of_capacity_is_waited_out_without_a_second_stop"],
    ),
    staged(
        31,
        "All nodes fail",
        "The first that is well again takes all; until then nothing is moved.",
        &["s31_first_of_all_failed_nodes_to_return_serves_all"],
    ),
    staged(
        32,
        "A node flaps",
        "Each hand-back waits longer, up to a bound; an operator can switch it off.",
        &[
            "s32_flapping_node_waits_longer_for_its_routes_each_time",
            "lab_config::tags_of_the_instances_set_what_the_file_does_not",
        ],
    ),
    staged(
        33,
        "The network between the nodes loses packets",
        "Nothing is moved or stopped; where no packet gets through, the usual bound holds.",
        &["s33_lossy_network_moves_nothing_and_a_dead_one_is_lost_all_the_same"],
    ),
    staged(
        34,
        "A node is starved of CPU time",
        "It doubts itself first, takes nothing, and is relieved without a lost packet.",
        &["s34_starved_node_doubts_itself_and_is_relieved"],
    ),
    staged(
        35,
        "The monitor is killed for lack of memory",
        "It is started again, reads, and goes on.",
        &["s35_monitor_killed_for_lack_of_memory_is_back_at_once_and_costs_nothing"],
    ),
    staged(
        36,
        "The disk is full or read-only",
        "Takeover, repair and hand-back go on, and what could not be noted down is alerted.",
        &[
            "s36_node_with_a_read_only_disk_takes_over_and_repairs",
            "s36_node_with_a_full_disk_takes_over_and_repairs",
        ],
    ),
    staged(
        37,
        "The monitor is killed in the midst of a takeover, a repair, a hand-back",
        "After its restart all comes to the same end.",
        &[
            "s37_monitor_killed_again_and_again_while_it_takes_over_still_does",
            "s37_monitor_killed_when_it_has_stopped_its_peer_starts_it",
            "s37_monitor_killed_while_its_peer_is_off_starts_it",
            "s37_monitor_killed_while_its_peer_boots_hands_back",
            "s37_monitors_killed_during_a_hand_back_finish_it",
        ],
    ),
    staged(
        38,
        "Half of the tables were moved when calls begin to fail",
        "The rest is moved when they work again; nothing is rolled back.",
        &["s38_half_moved_group_stays_moved_and_is_completed"],
    ),
    staged(
        39,
        "The Elastic IP has moved, the route has not",
        "What has moved stays and serves; the move is completed, by the next heir if need be.",
        &[
            "s39_half_of_a_group_waits_for_the_other_half_over_a_restart_too",
            "s39_holder_of_one_half_that_dies_leaves_it_to_the_next_with_the_other",
        ],
    ),
    staged(
        40,
        "The table of tracked connections fills up",
        "An alert stands; the load is not handed over blindly.",
        &["s40_table_of_connections_that_fills_up_is_alerted_and_moves_nothing"],
    ),
    left(
        41,
        "Flows are carried over in part",
        "The takeover goes on, and what was lost is counted.",
        "flows are not carried over yet",
    ),
    left(
        42,
        "The ports of an address are used up",
        "An alert stands, and nothing fails over for it.",
        "there is no egress identity yet, whose ports would have to last for all nodes",
    ),
    staged(
        43,
        "Two nodes want to stop each other",
        "At most one of them is ever stopped, and the other one serves.",
        &["s43_two_nodes_that_judge_each_other_failed_in_turns_never_stop_both"],
    ),
    staged(
        44,
        "The nodes' settings differ",
        "They cover for each other, the difference is told, and nobody is stopped.",
        &["s44_nodes_with_different_settings_cover_for_each_other_and_stop_nobody"],
    ),
    staged(
        45,
        "Heartbeats are forged or replayed",
        "They are counted and change nothing.",
        &[
            "s45_replayed_heartbeats_do_not_keep_a_dead_peer_alive",
            "lab_config::a_shared_key_authenticates_and_forged_packets_do_not_count",
        ],
    ),
    staged(
        46,
        "A whole zone fails",
        "It is covered from another, though EC2 tells nothing of its instances.",
        &["s46_failed_zone_is_covered_while_ec2_tells_nothing_of_its_instances"],
    ),
    staged(
        47,
        "AWS gives notice of an interruption",
        "The node is relieved before it, without a lost packet.",
        &[
            "s47_spot_notice_relieves_a_nat_before_it_is_ended",
            "s47_scheduled_event_relieves_a_nat_shortly_before_and_until_it_is_over",
        ],
    ),
    staged(
        48,
        "API calls hang",
        "Heartbeats and decisions go on.",
        &["s48_hanging_calls_delay_no_heartbeat_and_no_verdict"],
    ),
    staged(
        49,
        "The DNS resolver is down",
        "A failure is still covered.",
        &["s49_takeover_needs_no_resolver"],
    ),
    staged(
        50,
        "Two nodes both have the virtual IP",
        "The one that does not hold it removes it; what natha did not put there, it tells of.",
        &[
            "s50_address_that_a_killed_monitor_left_is_removed_where_the_group_is_not_held",
            "s50_address_that_a_person_put_on_another_node_is_told_and_gets_no_packet",
        ],
    ),
];
