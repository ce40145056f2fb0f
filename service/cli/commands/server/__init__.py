"""Service"""
